"""What the site asks of the plots of its examples, while it is built."""

import importlib.util
import warnings
from pathlib import Path

import pytest

pytestmark = pytest.mark.site


@pytest.fixture
def gallery():
    """Return the extension that checks the plots."""
    path = Path(__file__).parents[2] / "docs" / "_ext" / "gallery.py"
    spec = importlib.util.spec_from_file_location("gallery", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    module.pyplot.close("all")


def plot(gallery, width=6, color="#0072b2"):
    """Return axes as an example draws them."""
    _, axes = gallery.pyplot.subplots(figsize=(width, 4))
    axes.plot([0, 1], color=color, label="FM")
    axes.set(xlabel="epoch", ylabel="loss")
    return axes


def scrape(gallery):
    return gallery.plots(
        None, {"image_path_iterator": iter(())}, {"image_srcset": [], "matplotlib_animations": [False]}
    )


def test_plot_is_accepted(gallery, monkeypatch):
    monkeypatch.setattr(gallery, "matplotlib_scraper", lambda *_: "saved")
    plot(gallery)
    assert scrape(gallery) == "saved"


def test_plot_without_a_label_is_refused(gallery):
    plot(gallery).set_ylabel("")
    with pytest.raises(ValueError, match="no label"):
        scrape(gallery)


def test_plot_with_small_lettering_is_refused(gallery):
    plot(gallery, width=14)
    with pytest.raises(ValueError, match="pixels high"):
        scrape(gallery)


def test_plot_with_another_color_of_a_model_is_refused(gallery):
    plot(gallery, color="#d55e00")
    with pytest.raises(ValueError, match="FM should have the color"):
        scrape(gallery)


def test_warning_of_an_example_is_an_error(gallery):
    before = warnings.filters[:]
    gallery.strict({}, "plot_xor.py", "before")
    with pytest.raises(UserWarning, match="careful"):
        warnings.warn("careful", UserWarning, stacklevel=1)
    gallery.strict({}, "plot_xor.py", "after")
    assert warnings.filters == before
