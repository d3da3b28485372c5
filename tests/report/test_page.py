"""The page in a real browser."""

import json
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Chrome, reported: Path) -> Chrome:
    """The report, opened from the disk in a window of 1,200 pixels."""
    _show(browser, width=1200, scheme="light")
    browser.get((reported / "index.html").as_uri())
    return browser


def _show(browser: Chrome, *, width: int, scheme: str) -> None:
    window = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def _number(page: Chrome, label: str) -> int:
    """The place of a column of the ranked table, from 1."""
    headers = page.find_elements(By.CSS_SELECTOR, "#trials th")
    return next(i for i, header in enumerate(headers, start=1) if header.text.startswith(label))


def _column(page: Chrome, label: str) -> tuple[WebElement, list[str]]:
    """A column of the ranked table: its header, and its cells from above."""
    headers = page.find_elements(By.CSS_SELECTOR, "#trials th")
    number = _number(page, label)
    cells = page.find_elements(By.CSS_SELECTOR, f"#trials tbody tr > :nth-child({number})")
    return headers[number - 1], [cell.text for cell in cells]


def test_it_loads_without_an_error_and_asks_for_nothing(page: Chrome) -> None:
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert any(address.startswith("file:") for address in asked)  # the log works: the page itself is in it
    assert [address for address in asked if not address.startswith(("file:", "data:"))] == []
    assert page.get_log("browser") == []
    pictures = page.execute_script("return [...document.images].map((i) => i.naturalWidth)")
    assert len(pictures) > 5
    assert all(pictures)


def test_a_slider_moves_its_picture_by_keyboard(page: Chrome) -> None:
    latent = page.find_element(By.CLASS_NAME, "latent")
    view, slider = latent.find_element(By.CLASS_NAME, "view"), latent.find_element(By.TAG_NAME, "input")
    before, output = view.screenshot_as_png, latent.find_element(By.TAG_NAME, "output")
    assert output.text == "0.0"
    slider.send_keys(Keys.ARROW_RIGHT)
    assert output.text == "+0.4"
    assert view.screenshot_as_png != before
    slider.send_keys(Keys.ARROW_LEFT)
    assert view.screenshot_as_png == before


def test_a_header_sorts(page: Chrome) -> None:
    header, betas = _column(page, "beta")
    assert (betas[0], betas[-1]) == ("8", "16")  # by rank, the failed trial last
    header.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert _column(page, "beta")[1] == sorted(betas, key=float, reverse=True)
    assert header.get_attribute("aria-sort") == "descending"
    header.click()
    assert _column(page, "beta")[1] == sorted(betas, key=float)
    for click in range(2):
        _column(page, "MIG")[0].click()
        *scores, last = _column(page, "MIG")[1]
        assert scores == sorted(scores, reverse=click == 0)
        assert last == ""  # no score is last both ways
    _column(page, "trial")[0].click()
    names = _column(page, "trial")[1]
    assert names == sorted(names)


def test_a_column_of_numbers_and_schedules_sorts_by_the_first_number(page: Chrome) -> None:
    """Fails where a text is subtracted from a number: the order would be left as it is."""
    cells = page.find_elements(By.CSS_SELECTOR, f"#trials tbody tr > :nth-child({_number(page, 'beta')})")
    for cell, text in zip(cells, ("12@0,4@70", "9@0,4@70"), strict=False):
        page.execute_script("delete arguments[0].dataset.value; arguments[0].textContent = arguments[1]", cell, text)
    _column(page, "beta")[0].click()
    betas = _column(page, "beta")[1]
    assert betas == sorted(betas, key=lambda text: float(text.partition("@")[0]))


def test_settings_sort_by_numbers(page: Chrome) -> None:
    headers = page.find_elements(By.CSS_SELECTOR, "#settings th")
    assert [header.text.split()[0] for header in headers] == ["setting", "seeds", "median", "quartiles", "each"]
    for number, header in enumerate(headers[1:4], start=2):
        header.click()
        cells = page.find_elements(By.CSS_SELECTOR, f"#settings tbody td:nth-child({number})")
        values = [float(cell.text.split()[0]) for cell in cells]
        assert values == sorted(values, reverse=True)


def test_it_fits_a_phone(page: Chrome) -> None:
    _show(page, width=390, scheme="light")
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    sizes = page.execute_script("return [...document.querySelectorAll('.latent input')].map((i) => i.offsetWidth)")
    assert min(size for size in sizes if size) > 150  # wide enough for a finger; 0 where it is folded away


def test_it_follows_the_readers_scheme(page: Chrome) -> None:
    """Page and figures: a pixel of a figure's corner has no paint of its own."""
    colors = {}
    for scheme in ("light", "dark"):
        _show(page, width=1200, scheme=scheme)
        body = page.find_element(By.TAG_NAME, "body")
        colors[scheme] = body.value_of_css_property("background-color"), body.value_of_css_property("color")
    assert colors["light"] != colors["dark"]
    assert colors["light"][0] == "rgba(255, 255, 255, 1)"
    figure = page.find_element(By.CSS_SELECTOR, "figure img")
    dark = figure.screenshot_as_png
    _show(page, width=1200, scheme="light")
    assert figure.screenshot_as_png != dark


def _trials_in(figure: WebElement) -> set[str]:
    return {mark.get_attribute("data-trial") or "" for mark in figure.find_elements(By.CLASS_NAME, "mark")}


def _lit(page: Chrome) -> set[str]:
    return {element.get_attribute("data-trial") or "" for element in page.find_elements(By.CLASS_NAME, "lit")}


def _figure(page: Chrome, caption: str) -> WebElement:
    return page.find_element(By.CSS_SELECTOR, f".figure[aria-label*='{caption}']")


def test_a_figure_names_the_trial_that_is_pointed_at_and_leads_to_it(page: Chrome) -> None:
    figure = _figure(page, "against beta")
    mark = figure.find_elements(By.CLASS_NAME, "mark")[0]
    trial, note = mark.get_attribute("data-trial"), page.find_element(By.ID, "note")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure)
    ActionChains(page).move_to_element(mark).perform()
    assert _lit(page) == {trial}
    assert note.text.startswith(f"Trial {trial}: ")
    assert "MIG 0." in note.text
    assert "beta = " in note.text
    ActionChains(page).click(mark).perform()
    model = page.execute_script("return location.hash.slice(1)")
    focused = page.switch_to.active_element.get_attribute("data-trial")
    assert trial in model or trial == focused


def test_the_keyboard_goes_through_the_trials_of_a_figure(page: Chrome) -> None:
    figure = _figure(page, "over its steps")
    trials, seen = _trials_in(figure), []
    assert len(trials) > 2
    for _ in trials:
        figure.send_keys(Keys.ARROW_RIGHT)
        seen += _lit(page)
        assert page.find_element(By.ID, "note").is_displayed()
    assert sorted(seen) == sorted(trials)
    figure.send_keys(Keys.ARROW_LEFT)
    assert _lit(page) == {seen[-2]}
    figure.send_keys(Keys.ESCAPE)
    assert _lit(page) == set()
    assert not page.find_element(By.ID, "note").is_displayed()


def test_a_row_lights_its_trial_in_every_figure(page: Chrome) -> None:
    row = page.find_element(By.CSS_SELECTOR, "#trials tbody tr")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", row)
    ActionChains(page).move_to_element(row).perform()
    trial = row.get_attribute("data-trial")
    assert _lit(page) == {trial}
    assert all(
        figure.find_elements(By.CSS_SELECTOR, ".mark.lit")
        for figure in page.find_elements(By.CLASS_NAME, "figure")
        if trial in _trials_in(figure)
    )


def test_a_filter_leaves_the_trials_of_which_all_is_said(page: Chrome) -> None:
    shown = [row for row in page.find_elements(By.CSS_SELECTOR, "#trials tbody tr") if row.is_displayed()]
    number, status = _number(page, "beta"), _number(page, "status")
    beta = shown[0].find_element(By.CSS_SELECTOR, f":scope > :nth-child({number})").text
    page.find_element(By.ID, "filter").send_keys(f"beta {beta}, Finished")
    left = [row for row in page.find_elements(By.CSS_SELECTOR, "#trials tbody tr") if row.is_displayed()]
    assert 0 < len(left) < len(shown)
    for row in left:
        assert row.find_element(By.CSS_SELECTOR, f":scope > :nth-child({number})").text == beta
        assert row.find_element(By.CSS_SELECTOR, f":scope > :nth-child({status})").text == "finished"
    assert page.find_element(By.ID, "num-shown").text == f"{len(left)} of {len(shown)}"
    figure = _figure(page, "over its steps")
    faded = {mark.get_attribute("data-trial") for mark in figure.find_elements(By.CSS_SELECTOR, ".mark.out")}
    assert faded == _trials_in(figure) - {row.get_attribute("data-trial") for row in left}


def test_chosen_models_lie_side_by_side(page: Chrome) -> None:
    boxes = page.find_elements(By.CSS_SELECTOR, ".choose input")
    models = page.find_elements(By.CLASS_NAME, "model")
    assert len(boxes) == len(models) > 2
    for box in boxes[:2]:
        box.click()
    first, second, *others = (model.rect for model in models)
    assert first["y"] == second["y"]
    assert first["x"] + first["width"] <= second["x"]
    assert all(not model.is_displayed() for model in models[2:])
    assert others
    page.execute_script("location.hash = arguments[0]", models[2].get_attribute("id"))  # a link to a hidden model
    WebDriverWait(page, 60).until(lambda _: all(model.is_displayed() for model in models))
    assert not any(box.is_selected() for box in boxes)
