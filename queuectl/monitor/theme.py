"""The style sheet and the script of status.html, and the policy (CSP) that lets nothing else act. Computes only.

Both are constants that the policy knows by their hashes, so nothing of a job can get into them. The script only
compares the page's time with the browser's clock.
"""

from __future__ import annotations

import base64
import functools
import hashlib

# The contrast of each colour to what is behind it is computed by a test (4.5 at least).
STYLE = """
:root{color-scheme:light dark;--back:#fff;--card:#f4f5f7;--ink:#1b1f24;--soft:#4d5661;--line:#c9ced6;--bad:#a3161d;
--badback:#fdecec;--good:#1c6b34;--code:#e9ebef}
@media (prefers-color-scheme:dark){:root{--back:#14171b;--card:#1e2329;--ink:#e8eaed;--soft:#aab3bf;--line:#3b434d;
--bad:#ff9b96;--badback:#3a1718;--good:#7fd49a;--code:#2a3038}}
*{box-sizing:border-box}
[hidden]{display:none!important}
body{margin:0 auto;padding:1rem;max-width:84rem;background:var(--back);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:1.35rem;margin:0 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:1.75rem 0 .4rem}
p{margin:.3rem 0}
.soft{color:var(--soft)}
.note{border-left:4px solid var(--line);background:var(--card);padding:.5rem .75rem;margin:.6rem 0}
.alarm{border:2px solid var(--bad);background:var(--badback);color:var(--bad);font-weight:600;padding:.6rem .75rem;
margin:.6rem 0}
code,pre{font:13px/1.4 ui-monospace,SFMono-Regular,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
code{background:var(--code);padding:.05rem .3rem;border-radius:3px}
pre{margin:.3rem 0 0;padding:.4rem .5rem;background:var(--code);white-space:pre-wrap;border-radius:3px}
bdi{overflow-wrap:anywhere}
.counts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem;margin:.8rem 0;padding:0;
list-style:none}
.counts li{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.5rem .7rem}
.counts b{display:block;font-size:1.6rem;line-height:1.2;font-variant-numeric:tabular-nums}
.counts a{color:inherit}
.counts .many{border-color:var(--bad)}
.counts .many b{color:var(--bad)}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem .35rem 0;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600;font-size:.9rem;white-space:nowrap}
td:first-child{min-width:9rem}
time{white-space:nowrap}
.bad-text{color:var(--bad)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(16rem,1fr));gap:1rem}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.6rem .7rem}
figcaption{font-size:.9rem;margin-bottom:.3rem}
.chart{display:block;width:100%;max-width:34rem;height:auto}
.chart text{font:10px system-ui,sans-serif;fill:var(--soft)}
.chart .axis{stroke:var(--soft);fill:none}
.chart .good{fill:var(--good)}
.chart .bad{stroke:var(--bad);stroke-width:.6}
.stripe-a{fill:var(--badback)}
.stripe-b{fill:var(--bad)}
.defs{position:absolute;width:0;height:0;overflow:hidden}
@media (max-width:46rem){
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table,tbody,tr,td{display:block}
tr{border:1px solid var(--line);border-radius:6px;padding:.4rem .6rem;margin:.5rem 0;background:var(--card)}
td{border:0;padding:.15rem 0}
td:first-child{min-width:0}
td::before{content:attr(data-label);color:var(--soft);font-size:.85rem;font-weight:600;margin-right:.5rem}
}
@media print{
:root{color-scheme:light;--back:#fff;--card:#fff;--ink:#000;--soft:#333;--line:#999;--bad:#8c0f16;--badback:#fff;
--good:#14532a;--code:#fff}
body{max-width:none;padding:0;font-size:10pt}
tr,figure,.counts li{break-inside:avoid}
}
"""

SCRIPT = """
(function () {
  var written = document.getElementById("written"), stale = document.getElementById("stale");
  var after = Number(stale.getAttribute("data-after")), age = document.getElementById("age");
  function look() {
    var seconds = Math.floor((Date.now() - Date.parse(written.dateTime)) / 1000), text = seconds + " seconds";
    if (seconds >= 172800) { text = Math.floor(seconds / 86400) + " days"; }
    else if (seconds >= 7200) { text = Math.floor(seconds / 3600) + " hours"; }
    else if (seconds >= 120) { text = Math.floor(seconds / 60) + " minutes"; }
    age.textContent = text;
    stale.hidden = !(seconds > after);
  }
  look();
  setInterval(look, 1000);
})();
"""


@functools.cache
def policy() -> str:
    """Return the content security policy: nothing but this page's own style sheet and script."""
    return (
        f"default-src 'none'; style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
