"""The style sheet of the pages: light and dark by what the reader's system wants, tables as cards on a phone."""

STYLE = """
:root{--back:#f6f7f9;--card:#fff;--text:#1b1f24;--dim:#5b6570;--line:#dce1e7;--bar:#3b74c4;--critical:#b3261e;--warning:#8a5a00;
--stripe:#d39a35;--silent:#5b6570;--good:#1f7a3d;--info:#2f5f9e}
@media(prefers-color-scheme:dark){:root{--back:#14171a;--card:#1d2126;--text:#e6e9ec;--dim:#9aa5b1;--line:#343b43;--bar:#6fa3ec;
--critical:#ff8a80;--warning:#f0b95a;--stripe:#8a6420;--silent:#9aa5b1;--good:#6fcf8f;--info:#8fbcf5}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main{max-width:72rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .25rem}
h2{font-size:1.15rem;margin:2.25rem 0 .75rem}
p{margin:.4rem 0}
.dim{color:var(--dim)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1.25rem 0}
.figure{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.75rem 1rem}
.figure b{display:block;font-size:1.75rem;line-height:1.2}
.figure.critical b{color:var(--critical)}.figure.warning b{color:var(--warning)}
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--line);border-radius:.5rem;font-size:.95rem}
th{text-align:left;font-weight:600;color:var(--dim);white-space:nowrap}
th,td{padding:.5rem .75rem;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:break-word}
time{white-space:nowrap}
tbody tr:last-child td{border-bottom:0}
.badge{display:inline-block;border:1px solid currentColor;border-radius:1rem;padding:0 .6rem;font-size:.85rem;font-weight:600;white-space:nowrap;
color:var(--dim)}
.critical{color:var(--critical)}.warning{color:var(--warning)}.good{color:var(--good)}.info{color:var(--info)}.bad,.closed{color:var(--critical)}.open,.resolved{color:var(--good)}
.silent{color:var(--silent)}
.figure.critical,.figure.warning{color:inherit}
.weeks{display:grid;grid-template-columns:max-content 1fr;gap:.3rem .75rem;background:var(--card);border:1px solid var(--line);
border-radius:.5rem;padding:1rem}
.track{display:flex;align-items:center;gap:.5rem;min-width:0}
.bar{height:1rem;border-radius:.2rem;background:var(--bar);flex:none}
.bar.alone{background:repeating-linear-gradient(135deg,var(--warning) 0 .4rem,var(--stripe) .4rem .6rem)}.bar.expired{background:var(--critical)}
.track .bar+.bar{margin-left:-.5rem}
code,pre{font:.9em/1.5 ui-monospace,monospace;overflow-wrap:anywhere}
pre{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.75rem;white-space:pre-wrap;margin:.5rem 0}
ul,ol{padding-left:1.4rem}li{margin:.3rem 0}
.picture{overflow-x:auto;margin-bottom:1rem;background:var(--card);border:1px solid var(--line);border-radius:.5rem}
svg{display:block;color:var(--text);fill:currentColor;font:13px system-ui,sans-serif}
svg .lane{stroke:var(--line)}svg .dim{fill:var(--dim)}svg .axis{stroke:var(--dim)}svg .time{text-anchor:middle;font-size:12px}
svg .span{fill:var(--dim);opacity:.45}
svg .mark text{fill:var(--card);text-anchor:middle;font-weight:600}
svg .file{fill:var(--warning)}svg .line{fill:var(--dim)}svg .decision{fill:var(--info)}svg .action{fill:var(--bar)}
svg .message{fill:var(--text)}svg .check{fill:var(--good)}svg .bad{fill:var(--critical)}
@media(max-width:40rem){
table,tbody,tr,td{display:block}thead{display:none}table{border:0;background:none}
tr{background:var(--card);border:1px solid var(--line);border-radius:.5rem;margin:0 0 .75rem;padding:.4rem 0}
td{border:0;padding:.15rem .9rem;overflow-wrap:anywhere;display:grid;grid-template-columns:7.5rem minmax(0,1fr);justify-items:start}td:empty{display:none}
td::before{content:attr(data-head);color:var(--dim);font-size:.85rem}
}
@media(min-width:60rem){td[data-head=Cluster],td[data-head=Master]{white-space:nowrap}}
@media print{body{background:#fff}.figure,table,.weeks{break-inside:avoid}}
"""
