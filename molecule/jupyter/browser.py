"""Jupyter in a browser, and the files it leaves: run by pytest on the machine, as its user.

The tests go on from one another, in one browser. When one fails, ~/browser holds the page as it
was, and the report ends with the last words of the page's console.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

PAGE = "http://127.0.0.1:8888"
NOTEBOOKS = Path.home() / "Jupyter"
TOKEN = (Path.home() / ".config/sagequeue/jupyter_token").read_text().strip()
WRONG_TOKEN = os.environ.get("FORMER_TOKEN", "0" * 48)
# As the host sees the container's user, where subordinate ids begin at 100000.
CONTAINER_UID = 100999

# Python would not read it: ^ is a power here, and 1r one of Python's integers, as the solver wants.
CELL = """\
import pycryptosat
solver = pycryptosat.Solver()
solver.add_clauses([[1r, 2r], [-1r]])
print(2^3, factor(2^67 - 1), solver.solve())
solver.add_clause([-2r])
print(solver.solve())"""
OUTPUT = """\
8 193707721 * 761838257287 (True, (None, False, True))
(False, None)"""

# The page is drawn anew between two looks, or while something still lies over an element.
PASSING = (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
)

T = TypeVar("T")


class Browser:
    """Chromium without a window, and what a person does in it."""

    def __init__(self) -> None:
        options = ChromeOptions()
        options.add_argument("--headless=new")
        options.add_argument("--window-size=1400,1000")
        options.set_capability("goog:loggingPrefs", {"browser": "INFO"})
        # Debian's. With the paths given, Selenium looks for nothing and fetches nothing.
        options.binary_location = "/usr/bin/chromium"
        self.driver = Chrome(options, ChromeService("/usr/bin/chromedriver"))

    def wait(self, condition: Callable[[WebDriver], T | None], until: str) -> T:
        """Wait until the condition gives something, and give that."""
        found = WebDriverWait(self.driver, 60, 0.1, PASSING).until(condition, f"waited for {until}")
        assert found is not None
        return found

    def open(self, path: str) -> None:
        """Open a page of Jupyter's."""
        self.driver.get(PAGE + path)

    def open_alone(self, path: str) -> None:
        """Open it without what was open before, which would be on view for a moment, too."""
        self.open(f"{path}?reset")

    def see(self, selector: str, pattern: str = "") -> WebElement:
        """Wait for a visible element with a text that the pattern is found in."""
        return self.wait(lambda _: self._visible(selector, pattern), f"{selector} {pattern}")

    def click(self, selector: str) -> None:
        """Wait for an element that can be clicked, and click it."""

        def clicked(_: WebDriver) -> WebElement | None:
            if element := self._visible(selector):
                element.click()
            return element

        self.wait(clicked, f"{selector} to be clicked")

    def _visible(self, selector: str, pattern: str = "") -> WebElement | None:
        elements = self.driver.find_elements(By.CSS_SELECTOR, selector)
        shown = (element for element in elements if element.is_displayed())
        return next((element for element in shown if re.search(pattern, element.text)), None)

    def at(self, path: str) -> None:
        """Wait until that page is the one that is open."""
        self.wait(lambda driver: driver.current_url.startswith(PAGE + path) or None, path)

    def log_in(self, token: str) -> None:
        """Fill in the login form."""
        field = self.see("#password_input")
        field.send_keys(token)
        field.submit()

    def press(self, modifier: str, key: str) -> None:
        """Press two keys together."""
        ActionChains(self.driver).key_down(modifier).send_keys(key).key_up(modifier).perform()

    def cell(self) -> None:
        """Go into the first cell."""
        self.click(".jp-Notebook .jp-CodeCell .cm-content")

    def run(self) -> str:
        """Run the first cell as soon as there is a kernel, and give what it printed."""
        self.see("#jp-main-statusbar", r"\| Idle")
        self.cell()
        self.press(Keys.SHIFT, Keys.ENTER)
        # The prompt is [*] until the kernel is through with it.
        self.see(".jp-CodeCell .jp-InputPrompt", r"\[\d+\]")
        return self.see(".jp-CodeCell .jp-OutputArea").text

    def saved(self) -> None:
        """Wait until no notebook has changes that are not on disk."""
        marks = (By.CSS_SELECTOR, ".jp-mod-dirty")
        self.wait(lambda driver: not driver.find_elements(*marks) or None, "the end of saving")

    def keep(self, directory: Path) -> None:
        """Keep the page as it is, and print the last words of its console."""
        directory.mkdir(exist_ok=True)
        self.driver.save_screenshot(directory / "page.png")
        (directory / "page.html").write_text(self.driver.page_source)
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call]  # it has no types
        print(*(line["message"] for line in log[-20:]), sep="\n")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all."""
    browser = Browser()
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Browser]:
    """The browser; when the test has failed, one can see why."""
    failed = request.session.testsfailed
    yield chromium
    if request.session.testsfailed > failed:
        chromium.keep(Path.home() / "browser")


def with_cell(kind: str, text: str, **more: object) -> dict[str, object]:
    """Give a notebook's cell."""
    return {"cell_type": kind, "id": kind, "metadata": {}, "source": text, **more}


def see_on_disk(path: Path, owner: int) -> None:
    """See that what was run is in the file, and that the user may write that and its checkpoint."""
    cell = json.loads(path.read_text())["cells"][0]
    assert "".join(cell["source"]) == CELL
    assert "".join(cell["outputs"][0]["text"]).strip() == OUTPUT
    assert path.stat().st_uid == owner
    checkpoint = NOTEBOOKS / ".ipynb_checkpoints" / f"{path.stem}-checkpoint.ipynb"
    for file in path, checkpoint:
        with file.open("r+"):
            pass


def test_without_the_token_there_is_only_the_login_page(browser: Browser) -> None:
    """Whatever is asked for."""
    browser.open("/")
    browser.at("/login")
    browser.open("/lab/tree/template.sage")
    browser.at("/login")


def test_a_wrong_token_is_refused(browser: Browser) -> None:
    """And the page says so."""
    browser.log_in(WRONG_TOKEN)
    browser.see(".message", "Invalid credentials")
    browser.open("/lab")
    browser.at("/login")


def test_the_token_opens_jupyterlab(browser: Browser) -> None:
    """The one in the user's file."""
    browser.log_in(TOKEN)
    browser.at("/lab")
    browser.see("#jp-main-dock-panel")


def test_the_url_that_the_command_prints_asks_for_nothing(browser: Browser) -> None:
    """For a browser that nobody has logged in with."""
    browser.driver.delete_all_cookies()
    browser.open("/lab")
    browser.at("/login")
    printed = subprocess.run(["sagequeue", "jupyter-url"], check=True, capture_output=True)
    browser.driver.get(printed.stdout.decode().strip())
    browser.see("#jp-main-dock-panel")


def test_a_sage_cell_solves_and_is_saved(browser: Browser) -> None:
    """From the launcher's card for Sage to the name that Jupyter asks for."""
    path = NOTEBOOKS / "from_the_launcher.ipynb"
    browser.open_alone("/lab")
    browser.click(".jp-LauncherCard[data-category='Notebook'][title*='sage' i]")
    browser.cell()
    browser.driver.switch_to.active_element.send_keys(CELL)
    assert browser.run() == OUTPUT
    browser.press(Keys.CONTROL, "s")
    name = browser.see(".jp-Dialog input[type=text]")
    name.clear()
    name.send_keys(path.name)
    browser.click(".jp-Dialog .jp-mod-accept")
    browser.at(f"/lab/tree/{path.name}")
    browser.saved()
    see_on_disk(path, CONTAINER_UID)


def test_what_the_user_writes_into_it_is_in_the_browser(browser: Browser) -> None:
    """The user writes on the host, by other means than Jupyter."""
    path = NOTEBOOKS / "from_the_launcher.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"].insert(0, with_cell("markdown", "A line of the user's"))
    path.write_text(json.dumps(notebook))
    browser.open_alone(f"/lab/tree/{path.name}")
    browser.see(".jp-MarkdownCell", "A line of the user's")
    browser.see(".jp-CodeCell .jp-OutputArea", re.escape(OUTPUT))


def test_a_notebook_of_the_users_runs_and_stays_theirs(browser: Browser) -> None:
    """It is made on the host, and Jupyter saves into it."""
    path = NOTEBOOKS / "of_the_user.ipynb"
    kernel = {"name": "sagemath", "display_name": "Sage", "language": "sage"}
    cell = with_cell("code", CELL, execution_count=None, outputs=[])
    notebook = {
        "cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5
    }  # fmt: skip
    path.write_text(json.dumps(notebook))
    browser.open_alone(f"/lab/tree/{path.name}")
    assert browser.run() == OUTPUT
    browser.press(Keys.CONTROL, "s")
    browser.saved()
    see_on_disk(path, os.getuid())
