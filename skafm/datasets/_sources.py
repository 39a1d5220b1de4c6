"""The published data sets: their files, descriptions and terms of use."""

from typing import NamedTuple

from skafm.datasets._download import File

PROVENANCE = """\
Published in libfm format, with the code of

    Xiao, J., Ye, H., He, X., Zhang, H., Wu, F., Chua, T.-S. (2017). Attentional factorization machines: learning the
    weight of feature interactions via attention networks. IJCAI 2017, 3119-3125.
    https://github.com/hexiangnan/attentional_factorization_machine

The split is that of the authors: 70% of the rows for training, 20% for validation, 10% for testing."""

FRAPPE_DESCR = f"""\
Frappe: the use of mobile apps in context
-----------------------------------------

96,203 logs, each of a user who used an app in a context of eight fields. Each log has the target 1 and is paired with
two negative samples with the target -1, which have another app in the same context. There are 288,609 rows of ten
one-hot encoded fields with 5,382 columns: user 957, item 4,082, daytime 7, weekday 7, isweekend 2, homework 3, cost 2,
weather 9, country 80, city 233.

{PROVENANCE}

Terms of use: for research only. No commercial use, no redistribution, no attempt to identify users. Cite

    Baltrunas, L., Church, K., Karatzoglou, A., Oliver, N. (2015). Frappe: understanding the usage and perception of
    mobile app recommendations in-the-wild. arXiv:1505.03014.
"""

MOVIELENS_DESCR = f"""\
MovieLens: tags that users gave movies
--------------------------------------

668,953 logs, each of a user who applied a tag to a movie. Each log has the target 1 and is paired with two negative
samples with the target -1. There are 2,006,859 rows of three one-hot encoded fields (user, movie and tag) with 90,445
columns.

{PROVENANCE}

Terms of use: those of GroupLens, https://grouplens.org/datasets/movielens/. Among them: no commercial use without
permission, and no implied endorsement by GroupLens. Cite

    Harper, F. M., Konstan, J. A. (2015). The MovieLens datasets: history and context. ACM Transactions on Interactive
    Intelligent Systems 5(4), 19. https://doi.org/10.1145/2827872
"""


class Source(NamedTuple):
    """A published data set."""

    field_names: tuple[str, ...]
    files: dict[str, File]
    descr: str


FRAPPE = Source(
    ("user", "item", "daytime", "weekday", "isweekend", "homework", "cost", "weather", "country", "city"),
    {
        "train": File("frappe/frappe.train.libfm", "176b2aaf1f63dd13d3e66a5c17c8ec8186e91893"),
        "validation": File("frappe/frappe.validation.libfm", "50b9c04bcf58dcb46d0b0070d3d6f88b45c9baab"),
        "test": File("frappe/frappe.test.libfm", "d7cdd03f0e2415c97618de617f20bedd50e8fce7"),
    },
    FRAPPE_DESCR,
)
MOVIELENS_TAGS = Source(
    ("user", "movie", "tag"),
    {
        "train": File("ml-tag/ml-tag.train.libfm", "45c9017ca7cb14b3df2b7378f3a935577a8a102f"),
        "validation": File("ml-tag/ml-tag.validation.libfm", "0950186b80ca3158f40c3734e28d236785ad77ac"),
        "test": File("ml-tag/ml-tag.test.libfm", "aef8f29a1a396d6ea34e692d26eec9bba2f7ae8b"),
    },
    MOVIELENS_DESCR,
)
