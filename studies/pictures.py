"""The pictures of the README: a sweep's report in light and dark, and its curves in TensorBoard, in a real browser.

python sweeps/run.py --name quick && python studies/pictures.py results/quick
python sweeps/run.py --name tracked --track mlflow && python studies/pictures.py results/tracked --mlflow PROGRAM

The second command makes the picture of MLflow alone, by the program `mlflow` of an environment of its own: this
package needs its client only.

It needs Chromium with its driver, and the packages of the extra `test`. Each picture records the sources of what it
shows, and `tests/test_docs.py` fails where they have changed since.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from PIL import Image, PngImagePlugin
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SHA256, SWEEP = "Sources-SHA256", "Sweep"
"""Names of the texts in a picture's file."""

_REPORT = (
    "templates/head.html", "templates/report.html", "templates/report.css", "templates/report.js", "headline.py",
    "page_numbers.py", "palette.py", "plots.py", "table.py", "trial_notes.py",
)  # fmt: skip
SOURCES = {
    "report.png": [ROOT / "betavae/report" / name for name in _REPORT],
    "mlflow.png": [ROOT / "sweeps/loggers/mlflow_log.py", ROOT / "sweeps/loggers/contents.py"],
    "tensorboard.png": [ROOT / "sweeps/loggers/tensorboard_log.py", ROOT / "sweeps/loggers/contents.py"],
}
"""By picture, the files that decide what it shows."""

_WIDTH, _HEIGHT = 1200, 1500
_WAIT_SECONDS = 120


def sources_sha256(name: str) -> str:
    """Return the SHA-256 of the sources of a picture."""
    digest = hashlib.sha256()
    for path in SOURCES[name]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Write the pictures of a sweep whose report has been made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a sweep's folder, with its report")
    parser.add_argument("--mlflow", metavar="PROGRAM", help="make the picture of MLflow, with this program")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    if arguments.mlflow is not None:
        store = f"sqlite:///{(folder / 'mlflow' / 'mlflow.db').resolve()}"
        command = [arguments.mlflow, "ui", "--backend-store-uri", store]
        with _browser() as browser, _served(command) as address:
            _save("mlflow.png", _runs(browser, address), folder)
        return
    page = folder / "report" / "index.html"
    if not page.is_file():
        parser.error(f"FOLDER must be a sweep's folder with its report, but there is no {page}; make it with: "
                 f"python sweeps/analyze.py {folder}")  # fmt: skip
    with _browser() as browser:
        _save("report.png", _report(browser, page), folder)
        with _served([sys.executable, "-m", "tensorboard.main", "--logdir", str(folder)]) as address:
            _save("tensorboard.png", _curves(browser, address), folder)


@contextmanager
def _browser() -> Iterator[Chrome]:
    options = ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={_WIDTH},{_HEIGHT}"):
        options.add_argument(argument)
    browser = Chrome(options=options)
    try:
        yield browser
    finally:
        browser.quit()


def _report(browser: Chrome, page: Path) -> Image.Image:
    """Return the top of the page in light, and a figure with a trial that is pointed at in dark, side by side."""
    browser.get(page.resolve().as_uri())
    top = _screen(browser, scheme="light")
    browser.execute_script(
        "document.getElementById('hyper-parameters').scrollIntoView();"
        "const figure = document.querySelector('#hyper-parameters > figure .figure');"
        "figure.focus({preventScroll: true});"
        "figure.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
    )
    figures = _screen(browser, scheme="dark")
    both = Image.new("RGB", (2 * _WIDTH, top.height), "white")
    both.paste(top, (0, 0))
    both.paste(figures, (_WIDTH, 0))
    return both


def _screen(browser: Chrome, *, scheme: str, size: tuple[int, int] = (_WIDTH, _HEIGHT)) -> Image.Image:
    window = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    return Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")


@contextmanager
def _served(command: list[str]) -> Iterator[str]:
    """Run a server meanwhile, on a free port, and give its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _curves(browser: Chrome, address: str) -> Image.Image:
    """Return TensorBoard's Custom Scalars tab."""
    return _drawn(browser, address, "#custom_scalars", curves="path.line")


def _runs(browser: Chrome, address: str) -> Image.Image:
    """Return the charts of the experiment's runs in MLflow."""
    page = "#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=CHART"
    picture = _drawn(browser, address, page, curves="path.js-line", size=(2000, 1000))
    return picture.crop((0, 0, 1485, 1000))  # without its assistant


def _drawn(
    browser: Chrome, address: str, page: str, *, curves: str, size: tuple[int, int] = (_WIDTH, _HEIGHT)
) -> Image.Image:
    """Return a page once all its curves are drawn.

    Args:
        browser: The browser.
        address: The server's.
        page: The page's place there.
        curves: The selector of its curves.
        size: Of the picture, in pixels.
    """
    wait = WebDriverWait(browser, _WAIT_SECONDS, poll_frequency=2, ignored_exceptions=[WebDriverException])
    wait.until(lambda _: _answers(address))
    _screen(browser, scheme="light", size=size)  # a page may look at the scheme when it starts
    browser.get(f"{address}/{page}")
    counts = [0]

    def are_all_drawn(driver: Chrome) -> bool:
        counts.append(driver.execute_script(_NUM_CURVES, curves))
        return counts[-1] == counts[-2] > 0

    wait.until(are_all_drawn)
    return _screen(browser, scheme="light", size=size)


_NUM_CURVES = """
const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
return all(document).filter((e) => e.matches(arguments[0]) && e.getAttribute("d")?.length > 20).length;
"""
"""How many curves are drawn, below however many shadow roots."""


def _answers(address: str) -> bool:
    try:
        with urlopen(address) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _save(name: str, picture: Image.Image, folder: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text(SHA256, sources_sha256(name))
    texts.add_text(SWEEP, folder.resolve().name)
    picture.quantize(128).save(DOCS / name, pnginfo=texts, optimize=True)
    print(f"wrote {DOCS / name}")


if __name__ == "__main__":
    main()
