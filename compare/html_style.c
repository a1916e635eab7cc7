#include "compare/html_style.h"

#define COLOURS_LIGHT \
	"--back:#fafaf8;--card:#ffffff;--text:#1d2126;--quiet:#5c6670;--line:#e1e4e7;--strong:#9aa3ab;--accent:#2458b8;" \
	"--warn-back:#fff6df;--warn-line:#e3b341;--dear:#a63a16;--cheap:#116a45;" \
	"--c0:#2458b8;--c1:#c05a00;--c2:#0b7f66;--c3:#8d3aa8;--c4:#a11d4b;--c5:#5b6c00;--c6:#00708f;--c7:#6b5b4f;" \
	"--k0:#4477aa;--k1:#cc6677;--k2:#ddb72f;--k3:#228866;--k4:#66b8dd;--k5:#aa55aa;--k6:#999933;--k7:#a8adb3;"

#define COLOURS_DARK \
	"--back:#14171a;--card:#1c2024;--text:#e7e9eb;--quiet:#a0a9b2;--line:#31373d;--strong:#6b757e;--accent:#8ab4ff;" \
	"--warn-back:#2c2716;--warn-line:#b8902e;--dear:#ff9f7a;--cheap:#67d7a4;" \
	"--c0:#8ab4ff;--c1:#ffa657;--c2:#4fd1b0;--c3:#d9a2f0;--c4:#ff8fb0;--c5:#c5d46a;--c6:#6fd0ec;--c7:#c9b8aa;" \
	"--k0:#6fa3d8;--k1:#e58a98;--k2:#ecd06a;--k3:#4fb58f;--k4:#8fd3f0;--k5:#cf8bcf;--k6:#c2c266;--k7:#7d858d;"

#define OF_COLUMN(n) ".c" #n "{fill:var(--c" #n ");stroke:var(--c" #n ")}.k" #n "{fill:var(--k" #n ")}"

const char html_style[] =
	":root{color-scheme:light dark;" COLOURS_LIGHT "}\n"
	"@media (prefers-color-scheme:dark){:root{" COLOURS_DARK "}}\n"
	"@media print{:root{" COLOURS_LIGHT "--back:#ffffff}}\n"
	"*{box-sizing:border-box}\n"
	"body{margin:0;background:var(--back);color:var(--text);font:16px/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,"
	"\"Noto Sans\",\"DejaVu Sans\",sans-serif;-webkit-text-size-adjust:100%}\n"
	"main,header,footer{max-width:1120px;margin:0 auto;padding:0 20px}\n"
	"header{padding-top:40px}\n"
	"h1{font-size:30px;line-height:1.2;margin:0 0 8px;letter-spacing:-.01em}\n"
	"h2{font-size:21px;line-height:1.3;margin:52px 0 12px;padding-top:14px;border-top:2px solid var(--line)}\n"
	"h3{font-size:16px;margin:28px 0 8px}\n"
	"p{margin:0 0 12px;max-width:76ch}\n"
	"li{margin:0 0 8px;max-width:76ch}ul{padding-left:22px;margin:0 0 12px}\n"
	".lead,.quiet{color:var(--quiet)}.lead{margin:0}\n"
	"nav{margin-top:14px;font-size:14px}nav a{margin-right:18px;white-space:nowrap}a{color:var(--accent)}\n"
	".warn{background:var(--warn-back);border-left:4px solid var(--warn-line);padding:10px 14px;margin:18px 0;"
	"border-radius:0 6px 6px 0}.warn p:last-child{margin:0}\n"
	".cards{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr))}\n"
	".card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:16px 18px;min-width:0}\n"
	".card h3{margin:0 0 8px}\n"
	"dl{display:grid;grid-template-columns:minmax(72px,auto) 1fr;gap:3px 14px;margin:0;font-size:14px;line-height:1.45}\n"
	"dt{color:var(--quiet)}dd{margin:0;min-width:0;overflow-wrap:anywhere}\n"
	".pair{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr))}\n"
	"figure{margin:0}figure p{margin:0}figcaption{font-size:14px;color:var(--quiet);margin:0 0 6px}\n"
	".legend{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;padding:0;margin:0 0 14px;font-size:14px}"
	".legend li{display:flex;align-items:center;gap:7px;margin:0;min-width:0;overflow-wrap:anywhere}"
	".legend svg{flex:none;width:14px;height:14px}\n"
	"svg.plot{display:block;width:100%;height:auto}\n"
	"svg text{font:12.5px system-ui,-apple-system,\"Segoe UI\",Roboto,\"Noto Sans\",\"DejaVu Sans\",sans-serif;"
	"fill:var(--text);font-variant-numeric:tabular-nums}\n"
	"svg .name,svg .number,svg .end{text-anchor:end}svg .tick{text-anchor:middle}"
	"svg .tick,svg .hint{font-size:11px;fill:var(--quiet)}svg .number.quiet{fill:var(--quiet)}\n"
	"svg .divider{stroke:var(--line);stroke-width:.7}.stem{stroke-width:1.2;opacity:.45}\n"
	"svg .grid{stroke:var(--line)}svg .one{stroke:var(--strong);stroke-width:1.5}\n"
	OF_COLUMN(0) OF_COLUMN(1) OF_COLUMN(2) OF_COLUMN(3) OF_COLUMN(4) OF_COLUMN(5) OF_COLUMN(6) OF_COLUMN(7) "\n"
	".interval{stroke-width:2.5;stroke-linecap:round;opacity:.65}.interval.unsure{stroke-dasharray:2 4}"
	".sign{stroke-width:1.5}.sign.hollow{fill:var(--card)}svg rect{stroke:var(--card);stroke-width:.7}\n"
	".scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px;background:var(--card)}\n"
	"table{border-collapse:collapse;width:100%;font-size:14px;line-height:1.4;font-variant-numeric:tabular-nums}\n"
	"th,td{padding:6px 12px;text-align:right;vertical-align:top;border-bottom:1px solid var(--line);white-space:nowrap}\n"
	"tbody tr:last-child th,tbody tr:last-child td{border-bottom-color:transparent}\n"
	"thead th{color:var(--quiet);font-weight:600;border-bottom-color:var(--strong)}"
	"thead tr:first-child th{color:var(--text);border-bottom-color:var(--line)}\n"
	"th[scope=row],th[scope=rowgroup],thead th.name{text-align:left}th[scope=row]{font-weight:600;white-space:normal;"
	"min-width:150px;max-width:290px;overflow-wrap:anywhere}\n"
	"th small{display:block;font-weight:400;color:var(--quiet);line-height:1.35}td small{display:block;color:var(--quiet)}\n"
	"th[scope=rowgroup]{background:var(--back);font-size:13px;letter-spacing:.02em}\n"
	"td.first,thead th.first{border-left:1px solid var(--line)}td.words{text-align:left;white-space:normal;min-width:240px}\n"
	"td.dear{color:var(--dear);font-weight:600}td.cheap{color:var(--cheap);font-weight:600}\n"
	"footer{padding-top:28px;padding-bottom:48px;font-size:14px;color:var(--quiet)}\n"
	"@media (max-width:560px){main,header,footer{padding-left:14px;padding-right:14px}h1{font-size:25px}"
	".card{padding:14px 12px}th,td{padding:6px 9px}}\n"
	"@media print{body{font-size:10.5pt}main,header,footer{max-width:none}nav{display:none}.pair,.cards{grid-template-columns:1fr 1fr}.card{padding:8px 10px}table{font-size:8pt}"
	"th,td{padding:3px 6px}h2{margin-top:24px}figure,tr,.card,.warn{break-inside:avoid}h2,h3{break-after:avoid}"
	".scroll{overflow:visible}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}\n";
