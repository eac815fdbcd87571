"use strict";
(() => {
  const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));
  const SVG = "http://www.w3.org/2000/svg";

  // texts: hidden until asked for, one by one or all of a section
  const show = (post, shown) => {
    post.classList.toggle("shown", shown);
    for (const text of all(".text", post)) text.toggleAttribute("aria-hidden", !shown), shown || text.setAttribute("aria-hidden", "true");
    for (const button of all("button.reveal", post)) {
      button.setAttribute("aria-expanded", String(shown));
      button.textContent = button.textContent.replace(/^(Show|Hide)/, shown ? "Hide" : "Show");
    }
  };
  for (const button of all("button.reveal")) {
    button.addEventListener("click", () => {
      const post = button.closest(".post");
      show(post, !post.classList.contains("shown"));
    });
  }
  for (const button of all("button.reveal-all")) {
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      button.textContent = (shown ? "Hide all " : "Show all ") + button.dataset.what;
      const words = button.dataset.what === "words";
      for (const post of all(".post", button.closest("section, article"))) {
        if (post.classList.contains("words") === words) show(post, shown);
      }
    });
  }

  // tables: sorted by a click on a heading; a row that belongs to the one above it stays with it
  for (const table of all("table.sortable")) {
    const headings = all("thead th", table);
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const number = heading.classList.contains("number");
        const before = heading.getAttribute("aria-sort");
        const down = before ? before === "ascending" : number;
        for (const other of headings) other.removeAttribute("aria-sort");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(table.tBodies[0], column, down);
      });
    });
  }
  function sort(body, column, down) {
    const groups = [];
    for (const row of Array.from(body.rows)) {
      if (row.classList.contains("more") && groups.length) groups[groups.length - 1].rows.push(row);
      else groups.push({ key: key(row.cells[column]), rows: [row] });
    }
    groups.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null); // what is undefined comes last
      const order = typeof a.key === "number" && typeof b.key === "number" ? a.key - b.key : String(a.key).localeCompare(String(b.key), "en");
      return down ? -order : order;
    });
    for (const group of groups) body.append(...group.rows);
  }
  function key(cell) {
    const said = cell && cell.dataset.v !== undefined ? cell.dataset.v : cell ? cell.textContent.trim() : "";
    if (said === "") return null;
    return Number.isNaN(Number(said)) ? said : Number(said);
  }

  // the threshold: counts of the point, shares of them, and their Wilson intervals
  const minus = (text) => text.replace("-", "\u2212");
  const said = (value) => (value === null ? "n/a" : minus(value.toFixed(3)));
  function wilson(successes, trials, z) {
    if (!trials) return null;
    const share = successes / trials, scale = 1 + (z * z) / trials;
    const middle = (share + (z * z) / (2 * trials)) / scale;
    const half = (z / scale) * Math.sqrt((share * (1 - share)) / trials + (z * z) / (4 * trials * trials));
    return {
      value: share,
      low: successes === 0 ? 0 : Math.max(0, middle - half),
      high: successes === trials ? 1 : Math.min(1, middle + half),
    };
  }
  const f1 = (jaccard) => (2 * jaccard) / (1 + jaccard);
  for (const section of all("section.threshold")) {
    const data = section.querySelector("script.points"), slider = section.querySelector("input[type=range]");
    if (!data || !slider) continue;
    const z = Number(section.dataset.z);
    const points = JSON.parse(data.textContent);
    const chart = section.querySelector("svg.chart");
    const frame = points.frame;
    const marker = document.createElementNS(SVG, "line");
    marker.setAttribute("class", "marker");
    marker.setAttribute("y1", frame.top);
    marker.setAttribute("y2", frame.top + frame.height);
    chart.append(marker);
    const put = (name, text) => {
      for (const cell of all(`[data-out="${name}"]`, section)) (cell.querySelector("b") || cell).textContent = text;
    };
    const update = () => {
      const at = Number(slider.value);
      const threshold = points.threshold[at], hits = points.hits[at], alarms = points.alarms[at];
      const misses = points.positive - hits, cleared = points.negative - alarms;
      const shares = {
        precision: wilson(hits, hits + alarms, z),
        recall: wilson(hits, points.positive, z),
        f1: wilson(hits, hits + alarms + misses, z),
        false_positive_rate: wilson(alarms, points.negative, z),
        flagged: wilson(hits + alarms, points.positive + points.negative, z),
      };
      if (shares.f1) for (const end of ["value", "low", "high"]) shares.f1[end] = f1(shares.f1[end]);
      for (const [name, share] of Object.entries(shares)) {
        put(name, said(share && share.value));
        put(`${name}-interval`, share ? `[${said(share.low)}, ${said(share.high)}]` : "");
      }
      put("hits", hits.toLocaleString("en"));
      put("alarms", alarms.toLocaleString("en"));
      put("misses", misses.toLocaleString("en"));
      put("cleared", cleared.toLocaleString("en"));
      section.querySelector("output").textContent = said(threshold);
      slider.setAttribute("aria-valuetext", said(threshold));
      const x = frame.left + frame.width * Math.min(1, Math.max(0, threshold));
      marker.setAttribute("x1", x);
      marker.setAttribute("x2", x);
    };
    slider.addEventListener("input", update);
    update();
  }
})();
