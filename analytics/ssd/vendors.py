"""Who made a drive, from what it and smartctl's database call it; NULL where neither tells.

A vendor is a feature of a model that is trained, so that one name stands for one maker whatever badge is on the drive.
The first row that matches wins; the family of smartctl's database is looked at before the model.
"""

from typing import Final

import polars as pl

#: (vendor, regular expression without regard to case). Dell and HPE put their names on drives of others: a maker's
#: name in the text wins over the badge, so badges are not here at all.
VENDORS: Final = (
    ("Intel", r"\bintel|^ssd(sc|pe|pf)[0-9a-z]|solidigm"),
    ("Samsung", r"samsung|^mz[0-9a-z]{2,}"),
    ("Micron", r"micron|crucial|^mtfd|^ct\d+[a-z]"),
    ("Kioxia", r"kioxia|^k(cd|cm|pm|xg|bg)\d"),
    ("Toshiba", r"toshiba|ocz|^thns|^(mg|mq|mk|dt)\d{2}"),
    ("SK hynix", r"hynix|^hfs\d"),
    ("Kingston", r"kingston|^s[av]\d{3,}"),
    ("Western Digital", r"western digital|\bwdc?\b|^wd\d|^wu[sh]|sandisk|^sd[a-z0-9]{4,}|hgst|^hu[hs]\d"),
    ("Hitachi", r"hitachi|^h(ds|ua|dt|de)\d"),
    ("Seagate", r"seagate|^st\d{2,}|^x[asfp]\d{3}|nytro"),
    ("Phison", r"phison"),
    ("Silicon Motion", r"silicon ?motion"),
    ("ADATA", r"adata"),
    ("Transcend", r"transcend|^ts\d+g"),
    ("Lite-On", r"lite-?on|plextor"),
)


def vendor_of(family: pl.Expr, model: pl.Expr) -> pl.Expr:
    """Name of the maker as text; NULL where neither the family nor the model tells."""
    named = [
        pl.when(text.str.contains(f"(?i){says}")).then(pl.lit(vendor))
        for text in (family, model)
        for vendor, says in VENDORS
    ]
    return pl.coalesce(named)
