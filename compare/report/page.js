// Tables sort by their columns. The page is whole without this.
"use strict";
(() => {
  const number = /^[\s[(<≥~+-]*(-?\d+(?:\.\d+)?(?:e-?\d+)?)/i;
  const text = (cell) => (cell?.dataset.value ?? cell?.textContent ?? "").trim().replaceAll("\u2212", "-");
  const empty = (value) => value === "" || value === "–" || value === "-";
  const read = (value) => {
    const found = number.exec(value);
    return found ? Number(found[1]) * (value.startsWith("-") && found[1][0] !== "-" ? -1 : 1) : NaN;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const heads = [...(table.tHead?.rows[0]?.cells ?? [])];
    if (!body || body.rows.length < 2) continue;
    const original = [...body.rows];
    const sort = (column, head) => {
      const before = head.getAttribute("aria-sort");
      const now = before === "ascending" ? "descending" : before === "descending" ? null : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (now === null) {
        body.append(...original);
        return;
      }
      head.setAttribute("aria-sort", now);
      const texts = original.map((row) => text(row.cells[column]));
      const numeric = texts.every((value) => empty(value) || !Number.isNaN(read(value)));
      const sign = now === "ascending" ? 1 : -1;
      const order = original.map((_, i) => i).sort((a, b) => {
        const [x, y] = [texts[a], texts[b]];
        if (empty(x) || empty(y)) return empty(x) - empty(y) || a - b; // what is not there comes last
        const difference = numeric
          ? read(x) - read(y)
          : x.localeCompare(y, "en", { numeric: true, sensitivity: "base" });
        return sign * difference || a - b;
      });
      body.append(...order.map((i) => original[i]));
    };
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(column, head));
      head.append(button);
    });
  }
  // Some browsers do not open what hides the target of a link.
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let up = target.closest("details"); up; up = up.parentElement?.closest("details")) up.open = true;
    target.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
})();
