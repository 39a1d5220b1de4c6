"""The built site, opened in a browser: ``python -m pytest -m site``, when Sphinx has built it."""

import functools
import importlib
import importlib.util
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
NARROW = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}

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
    return ui.WebDriverWait(browser, 20).until(lambda chrome: chrome.execute_script(script))


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


def test_gallery_shows_its_pictures(browser, address, pages):
    examples = sorted(path for path in pages if path.startswith("gallery/plot_"))
    assert len(examples) == len(list((ROOT / "examples").glob("plot_*.py")))
    script = """const images = [...document.querySelectorAll('article img')];
                images.forEach(image => { image.loading = 'eager'; });
                return images.length && images.every(i => i.complete) && [images.map(i => i.naturalWidth)]"""
    for path in examples:
        browser.get(address + path)
        assert min(wait(browser, script)[0]) > 0, path


def test_pages_load_without_errors(browser, address, pages):
    browser.get_log("browser")
    errors = []
    for path in pages:
        browser.get(address + path)
        errors += [(path, entry["message"]) for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors


def test_equations_are_drawn_without_a_network(browser, address, pages):
    equations = {path: page.equations for path, page in pages.items() if page.equations}
    assert equations
    for path, number in equations.items():
        browser.get(address + path)
        assert wait(browser, f"return document.querySelectorAll('mjx-container svg').length == {number}"), path


def test_text_fits_a_phone(browser, address, pages):
    # Tables, code and equations scroll by themselves; nothing else may reach beyond the screen.
    script = """return [...document.querySelectorAll('article :is(h1, h2, p, dt, dd, li, img)')]
        .filter(e => !e.closest('pre, table, .math') && e.getBoundingClientRect().right > innerWidth)
        .map(e => e.tagName + ' ' + e.textContent.trim().slice(0, 40))"""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", NARROW)
    wide = {}
    for path in pages:
        browser.get(address + path)
        if beyond := browser.execute_script(script):
            wide[path] = beyond[:3]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not wide


@pytest.mark.parametrize("width", [390, 1280])
def test_tables_break_no_identifier(browser, address, pages, width):
    script = r"""const broken = [], range = document.createRange();
        for (const code of document.querySelectorAll('article table code')) {
            const texts = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
            while (texts.nextNode())
                for (const word of texts.currentNode.data.matchAll(/\w+/g)) {
                    range.setStart(texts.currentNode, word.index);
                    range.setEnd(texts.currentNode, word.index + word[0].length);
                    if (new Set([...range.getClientRects()].map(box => box.top)).size > 1) broken.push(word[0]);
                }
        }
        return broken"""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", NARROW | {"width": width, "mobile": width < 600})
    broken = {}
    for path in pages:
        browser.get(address + path)
        if words := browser.execute_script(script):
            broken[path] = words[:3]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not broken


def test_code_is_not_cut_off(browser, address, pages):
    script = """return [...document.querySelectorAll('article pre')].filter(e => e.scrollWidth > e.clientWidth)
        .map(e => e.innerText.slice(0, 40))"""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", NARROW | {"width": 1280, "mobile": False})
    cut = {}
    for path in sorted(pages):
        # These show files of the project, which have lines of 120 columns.
        if path.startswith(("api/", "develop/", "gallery/")):
            continue
        browser.get(address + path)
        if blocks := browser.execute_script(script):
            cut[path] = blocks
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not cut
