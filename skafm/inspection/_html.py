"""HTML representation of an explanation, in the style of scikit-learn's estimators, for light and dark themes."""

from html import escape

import numpy as np

_STYLE = """<style>
.skafm-explanation {
  --text: var(--jp-content-font-color1, #000); --line: rgba(106, 105, 104, 0.232);
  --positive: #0072b2; --negative: #d55e00; --head: #f0f8ff; --head-text: #000; --edge: cornflowerblue;
  --stripe: rgba(127, 127, 127, 0.08);
  font-family: monospace; color: var(--text); max-width: 60em;
}
@media (prefers-color-scheme: dark) {
  .skafm-explanation { --text: var(--jp-content-font-color1, #ddd); --positive: #56b4e9; --negative: #e69f00; }
}
.skafm-explanation summary {
  padding: 0.5em; cursor: pointer; background: var(--head); color: var(--head-text); border: 1px dotted var(--edge);
}
.skafm-explanation table { margin: 0 0 0.5em; width: 100%; border-collapse: collapse; color: var(--text); }
.skafm-explanation :is(td, th) { border: 1px solid var(--line); padding: 0.2em 0.5em; text-align: right; }
.skafm-explanation .term { text-align: left; }
.skafm-explanation tr:nth-child(even) { background: var(--stripe); }
.skafm-explanation .bar { min-width: 8em; }
.skafm-explanation .bar div { min-width: 1px; height: 0.8em; background: var(--positive); }
.skafm-explanation .bar .negative { background: var(--negative); }
</style>"""
_FULL_WIDTH = 100  # percent


def explanation_html_repr(explanation, n_rows=5, n_terms=8):
    """Return the largest terms of the first rows as HTML.

    Parameters
    ----------
    explanation : Explanation
    n_rows : int
        Maximum number of rows.
    n_terms : int
        Maximum number of terms for each row and output.

    Returns
    -------
    str
    """
    shown = min(n_rows, len(explanation))
    tables = [_row_html(row, explanation[row], n_terms) for row in range(shown)]
    rest = f"<p>and {len(explanation) - shown} more rows</p>" if len(explanation) > shown else ""
    return f'<div class="skafm-explanation">{_STYLE}{"".join(tables)}{rest}</div>'


def _row_html(number, explanation, n_terms):
    """Return the table of the largest terms of a row."""
    top = explanation.top(n_terms)
    widest = top["contribution"].abs().max() if len(top) else 0
    output = '<th class="term">output</th>' if "output" in top else ""
    head = f'<tr>{output}<th class="term">term</th><th>attention</th><th>contribution</th><th class="bar"></th></tr>'
    lines = [_term_html(term, widest) for term in top.itertuples()]
    raw, intercept = (
        ", ".join(f"{value:.4g}" for value in np.ravel(values)) for values in (explanation.sum(), explanation.intercept)
    )
    summary = f"<summary>row {number}: {raw}, of which intercept {intercept}</summary>"
    return f"<details{' open' * (number == 0)}>{summary}<table>{head}{''.join(lines)}</table></details>"


def _term_html(term, widest):
    """Return a line: features, attention, contribution, and a bar whose color depends on the sign."""
    features = "deep part" if term.term == "deep" else escape(str(term.feature_i))
    if term.term == "interaction":
        features += f" &times; {escape(str(term.feature_j))}"
    output = f'<td class="term">{escape(str(term.output))}</td>' if hasattr(term, "output") else ""
    attention = "" if np.isnan(term.attention) else f"{term.attention:.2f}"
    width = _FULL_WIDTH * abs(term.contribution) / widest if widest else 0
    sign = "positive" if term.contribution > 0 else "negative"
    return (
        f'<tr>{output}<td class="term">{features}</td><td>{attention}</td><td>{term.contribution:+.4g}</td>'
        f'<td class="bar"><div class="{sign}" style="width:{width:.0f}%"></div></td></tr>'
    )
