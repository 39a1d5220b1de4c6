"""The built site, opened in a browser: ``python -m pytest -m site``, when Sphinx has built it."""

import functools
import importlib
import importlib.util
import re
import shutil
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest
from test_docs import PUBLIC

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "_build" / "html"
SOUGHT = (
    "overfitting",
    "hyperparameter",
    "regularization",
    "cold start",
    "class imbalance",
    "high cardinality",
    "unknown category",
    "deploy",
    "gunicorn",
    "checkpoint",
    "FAQ",
    "release notes",
    "LightGBM",
    "CTR",
    "recommender",
    "ranking",
    "uncertainty",
)
"""Standard terms that readers look for."""
LOOK = (Path(__file__).parent / "look.js").read_text()
FAULTS = {
    "broken": "identifier broken in a table",
    "beyond": "text beyond the screen",
    "scrolls": "page wider than the screen",
    "cut": "code cut off",
    "misprint": "formula with an error",
    "hidden": "picture missing",
    "nameless": "picture without a description",
    "faint": "text too faint",
}
"""What ``look.js`` finds, in words."""
VIEWS = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]
LONG_LINES = ("api/", "develop/", "gallery/")
"""Pages that show files of the project, whose lines have 120 columns."""

pytestmark = [pytest.mark.site, pytest.mark.timeout(600)]


class Page(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.equations = [], {""}, 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):  # noqa: ARG002
        """Count equations; note ids, and the addresses of links, pictures, scripts and styles."""
        given = dict(attrs)
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}
        self.equations += "math" in (given.get("class") or "").split()
        self.links += [given[key] for key in ("href", "src") if given.get(key)]


@pytest.fixture(scope="module")
def pages():
    """Return the pages of the site, by their paths."""
    if not (SITE / "index.html").exists():
        pytest.fail("There is no site: run `python -m sphinx -W --keep-going -n -b html docs docs/_build/html`.")
    paths = [path for path in SITE.rglob("*.html") if "_static" not in path.parts]
    return {path.relative_to(SITE).as_posix(): Page(path.read_text()) for path in paths}


@pytest.fixture(scope="module")
def address(pages):  # noqa: ARG001 they must be there
    """Serve the site on this machine alone, and return its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(address):  # noqa: ARG001 first the site, then the browser
    """Return a Chromium without a window, that reaches nothing but the site."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver and importlib.util.find_spec("selenium")):
        what = "`pip install selenium` and `apt-get install chromium chromium-driver`"
        pytest.fail(f"There is no browser, or nothing to steer it with: run {what}.")
    webdriver = importlib.import_module("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1400,900"):
        options.add_argument(f"--{argument}")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")  # as without a network
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


def wait(browser, script):
    """Wait until a script returns something true, and return it."""
    ui = importlib.import_module("selenium.webdriver.support.ui")
    return ui.WebDriverWait(browser, 20, poll_frequency=0.05).until(lambda chrome: chrome.execute_script(script))


def look(browser, equations):
    """Return the faults of the page that is open, in every view of it, when its equations and pictures are there."""
    wait(
        browser,
        f"""const images = [...document.querySelectorAll('article img')];
        images.forEach(image => {{ image.loading = 'eager'; }});
        return images.every(image => image.complete)
            && document.querySelectorAll('mjx-container svg').length == {equations}""",
    )
    faults = {}
    for width, scheme in VIEWS:
        screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        faults[width, scheme] = browser.execute_script(f"document.documentElement.dataset.theme = '{scheme}'; {LOOK}")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    return faults


@pytest.fixture(scope="module")
def seen(browser, address, pages):
    """Open each page once; return the errors of loading it and the faults of its views."""
    browser.get(address)
    browser.get_log("browser")  # of the first page ever, where the theme misses what it stores
    found = {}
    for path, page in pages.items():
        browser.get(address + path)
        faults = look(browser, page.equations)
        found[path] = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"], faults
    return found


def test_no_internal_link_is_dead(pages):
    dead = []
    for path, page in pages.items():
        for link in page.links:
            target = urlsplit(urljoin(path, link))
            if target.scheme or target.netloc:
                continue
            name = unquote(target.path).lstrip("/") or "index.html"
            known = name in pages and unquote(target.fragment) in pages[name].ids
            if not (known or (name not in pages and (SITE / name).is_file())):
                dead.append((path, link))
    assert not dead


def test_every_public_name_has_a_page(pages):
    assert [name for name in PUBLIC if name not in pages.get(f"api/{name}.html", Page("")).ids] == []


def test_formulas_of_docstrings_are_equations():
    formulas = re.compile(r'<span class="pre">[^<]*(?:\bsum_(?:\w\b|\{)|ReLU\()')
    assert [path.name for path in (SITE / "api").glob("*.html") if formulas.search(path.read_text())] == []


def test_search_finds_an_estimator_and_leads_to_its_page(browser, address):
    browser.get(address + "search.html?q=AFMRegressor")
    links = wait(browser, "let a = [...document.querySelectorAll('#search-results li a')]; return a.length && a")
    links[0].click()
    assert wait(browser, "return document.querySelector('h1')?.innerText").startswith("AFMRegressor")


@pytest.mark.parametrize("term", SOUGHT)
def test_search_finds_a_standard_term(browser, address, term):
    browser.get(f"{address}search.html?q={quote(term)}")
    # The summary is written when all hits are counted.
    done = wait(browser, "return document.querySelector('#search-results .search-summary')?.innerText")
    assert browser.execute_script("return document.querySelectorAll('#search-results li a').length"), done


def test_gallery_runs_every_example(pages):
    examples = sorted(path for path in pages if path.startswith("gallery/plot_"))
    assert len(examples) == len(list((ROOT / "examples").glob("plot_*.py")))
    for path in examples:
        text = (SITE / path).read_text()
        assert "sphx-glr-script-out" in text, path  # what its cells print
        assert "sphx_glr_plot_" in text, path  # what they draw


def test_pages_show_no_markup():
    markup = re.compile(r"\.\. include::|={6,} +={6,}|<p>[^<]*-{8,}")
    assert [path.name for path in SITE.glob("*.html") if markup.search(path.read_text())] == []


def test_pages_load_without_errors(seen):
    assert not {path: errors for path, (errors, _) in seen.items() if errors}


@pytest.mark.parametrize("fault", sorted(FAULTS), ids=lambda fault: FAULTS[fault].replace(" ", "_"))
def test_pages_show_no_fault(seen, fault):
    found = {}
    for path, (_, views) in seen.items():
        for view, faults in views.items():
            if faults[fault] and not (fault == "cut" and (view[0] < 1280 or path.startswith(LONG_LINES))):
                found[path, view] = faults[fault][:3]
    assert not found
