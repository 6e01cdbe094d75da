"use strict";
(async () => {
  const PRINTED_WIDTH = 690; // CSS pixels between the margins of an A4 page
  const content = (id) => document.getElementById(id).textContent;
  const night = matchMedia("(prefers-color-scheme: dark)");
  const select = document.getElementById("symbol");
  const price = document.getElementById("price-chart");
  const charts = [...document.querySelectorAll(".chart")];
  const figures = new Map(
    [...document.querySelectorAll("script[data-figure]")].map((s) => [s.dataset.figure, s.textContent]),
  );
  const palette = JSON.parse(content("palette"));

  async function loadPlotly() {
    const packed = Uint8Array.from(atob(content("plotly").trim()), (c) => c.charCodeAt(0));
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(unpacked).text();
    document.head.append(script);
    const format = {
      decimal: ".", thousands: ",", grouping: [3, 2, 2, 2, 2, 2], currency: ["₹", ""],
      dayMonth: "%-d %b", dayMonthYear: "%-d %b %Y",
    };
    Plotly.register({ moduleType: "locale", name: "en-IN", dictionary: {}, format });
  }

  function painted(name, dark) {
    let json = figures.get(name);
    if (dark) for (const [day, dim] of Object.entries(palette)) json = json.replaceAll(day, dim);
    return JSON.parse(json);
  }

  function draw(chart, { dark = night.matches, width } = {}) {
    const { data, layout } = painted(chart.dataset.chart, dark);
    // The element keeps the height, so that a resized window changes the width alone.
    const { height } = layout;
    chart.style.height = height + "px";
    const size = width ? { width, autosize: false } : { height: undefined, autosize: true };
    return Plotly.react(chart, data, { ...layout, ...size }, {
      locale: "en-IN", responsive: true, displaylogo: false,
      // plotly offers by default to upload a chart to its makers' server; a report stays here.
      showSendToCloud: false, plotlyServerURL: "",
      modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
      toImageButtonOptions: { filename: "hftray-" + chart.dataset.chart.split(":")[0], scale: 2 },
    });
  }

  function showSymbol(symbol) {
    if (select) select.value = symbol;
    price.dataset.chart = "price:" + symbol;
    for (const caption of document.querySelectorAll("[data-caption]")) {
      caption.hidden = caption.dataset.caption !== symbol;
      if (!caption.hidden) price.setAttribute("aria-label", caption.dataset.says);
    }
    return draw(price);
  }

  async function showTrade({ symbol, from, to, low, high }) {
    await showSymbol(symbol);
    const [start, end, bottom, top] = [from, to, low, high].map(Number);
    const beside = Math.max((end - start) / 2, 90 * 60_000);
    const around = Math.max((top - bottom) * 0.5, top * 0.006);
    const ranges = {
      "xaxis.range": [start - beside, end + beside].map((ms) => new Date(ms).toISOString().slice(0, 19)),
      "yaxis.range": [bottom - around, top + around],
    };
    await Plotly.relayout(price, ranges);
    price.closest("section").scrollIntoView();
  }

  function sortBy(header) {
    const rows = header.closest("table").tBodies[0];
    const column = header.cellIndex;
    const order = header.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
    const compare = (a, b) => (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    rows.append(...[...rows.rows].sort((a, b) => sign * compare(key(a), key(b))));
  }

  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => sortBy(button.closest("th")));
  }
  try {
    await loadPlotly();
    for (const chart of charts) await draw(chart);
  } catch (error) {
    for (const chart of charts) {
      chart.classList.add("failed");
      chart.textContent = "This browser cannot draw the chart. " + chart.getAttribute("aria-label");
    }
    console.error(error);
    return;
  }
  night.addEventListener("change", () => charts.forEach((chart) => draw(chart)));
  addEventListener("beforeprint", () => charts.forEach((chart) => draw(chart, { dark: false, width: PRINTED_WIDTH })));
  addEventListener("afterprint", () => charts.forEach((chart) => draw(chart)));
  select?.addEventListener("change", () => showSymbol(select.value));
  for (const button of document.querySelectorAll("td button[data-symbol]")) {
    button.addEventListener("click", () => showTrade(button.dataset));
  }
})();
