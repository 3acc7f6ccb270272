"use strict";
(() => {
  const number = (cell) => {
    const found = cell.textContent.replaceAll("\u2212", "-").match(/[-+]?\d+(\.\d+)?/);
    return found ? Number(found[0]) : NaN;
  };
  const compare = (column, numeric, sign) => (one, other) => {
    const a = one.cells[column], b = other.cells[column];
    if (!numeric) return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
    const x = number(a), y = number(b);
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return sign * (x - y);
  };

  const sortable = (table, say) => {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const numeric = head.classList.contains("n"), button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const falling = before ? before === "ascending" : numeric;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
        body.append(...[...body.rows].sort(compare(column, numeric, falling ? -1 : 1)));
        say(`sorted by ${button.textContent}, ${falling ? "descending" : "ascending"}`);
      });
    });
  };

  const filterable = (table, tools, say) => {
    const rows = [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
    const label = document.createElement("label"), input = document.createElement("input");
    const count = document.createElement("output");
    input.type = "search";
    input.spellcheck = false;
    input.autocomplete = "off";
    label.append("Filter rows ", input);
    count.setAttribute("aria-live", "polite");
    count.textContent = `${rows.length} of ${rows.length} rows`;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let kept = 0;
      for (const [row, text] of rows) {
        row.hidden = !words.every((word) => text.includes(word));
        kept += !row.hidden;
      }
      count.textContent = `${kept} of ${rows.length} rows`;
    });
    tools.append(label, count);
  };

  for (const table of document.querySelectorAll("table")) {
    if (table.tBodies[0].rows.length < 2) continue;
    const tools = document.createElement("div"), spoken = document.createElement("span");
    tools.className = "tools";
    spoken.className = "unseen";
    spoken.setAttribute("role", "status");
    if (table.hasAttribute("data-filter")) filterable(table, tools);
    tools.append(spoken);
    sortable(table, (text) => { spoken.textContent = text; });
    table.parentElement.before(tools);
  }

  const folded = () => document.querySelectorAll("details:not([open]):not(.long)");
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...folded()];
    opened.forEach((part) => { part.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((part) => { part.open = false; }));
})();
