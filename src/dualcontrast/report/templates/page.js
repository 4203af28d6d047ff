"use strict";
(() => {
  const root = document.documentElement;
  const find = (selector, within = document) => within.querySelector(selector);
  const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];
  const coarse = matchMedia("(pointer: coarse)").matches;

  // ---- colours: figures name them as in the style sheet, and are drawn in those of the theme

  const probe = find("#probe");
  function colour(name) {
    probe.style.color = name;
    return getComputedStyle(probe).color;
  }
  function withThemeColours(value) {
    if (typeof value === "string") return value.startsWith("var(--") ? colour(value) : value;
    if (Array.isArray(value)) return value.map(withThemeColours);
    if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withThemeColours(inner)]));
  }
  let printing = false; // paper is narrower than the window that plots fit into
  const printSize = (element) =>
    element.dataset.plane ? { width: 320, height: 320 } : { width: element.closest(".panels") ? 200 : 650 };
  function themedLayout(layout, element) {
    const themed = withThemeColours(layout);
    const [text, muted, rule, paper] = ["text", "muted", "rule", "paper"].map((name) => colour(`var(--${name})`));
    const family = getComputedStyle(document.body).fontFamily;
    for (const [key, axis] of Object.entries(themed)) {
      if (!/^[xy]axis/.test(key)) continue;
      const title = { ...axis.title, font: { size: 12 } };
      themed[key] = { gridcolor: rule, linecolor: rule, zerolinecolor: rule, ...axis, title };
    }
    return {
      ...themed,
      ...(printing ? printSize(element) : { autosize: true }),
      font: { family, size: 11.5, color: muted },
      hoverlabel: { bgcolor: paper, bordercolor: muted, font: { family, size: 12, color: text } },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      uirevision: "kept",
    };
  }
  const config = { displaylogo: false, displayModeBar: false, responsive: true, scrollZoom: false, showTips: false };

  // ---- compressed data of the page

  async function decompressed(id) {
    const bytes = Uint8Array.from(atob(find(`#${id}`).textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }
  const kinds = { f4: Float32Array, i4: Int32Array };
  function array({ dtype, bdata }) {
    return new kinds[dtype](Uint8Array.from(atob(bdata), (letter) => letter.charCodeAt(0)).buffer);
  }

  // ---- drawing: each figure when it comes into view, all of them before printing

  const drawers = new Map(); // element -> the function that draws it, and redraws it in another theme
  const inView = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => draw(target)),
    { rootMargin: "300px" },
  );
  function drawWhenInView(element, drawer) {
    drawers.set(element, drawer);
    inView.observe(element);
  }
  function draw(element) {
    if (element.dataset.drawn !== undefined) return;
    element.dataset.drawn = "";
    inView.unobserve(element);
    drawers.get(element)(element);
  }
  function redrawAll() {
    for (const [element, drawer] of drawers) if (element.dataset.drawn !== undefined) drawer(element);
  }
  function plotter(figure) {
    return (element) => Plotly.react(element, withThemeColours(figure.data), themedLayout(figure.layout, element), config);
  }

  // ---- surfaces: pictures until they are in view, then rotated together. A browser supports about 16 WebGL contexts,
  // so only a few surfaces are live. On a touch screen only those that were tapped are, so that the page scrolls.

  const LIVE = 9;
  const surfaces = [];
  const live = [];
  let camera = null;
  function surface(element, figure) {
    surfaces.push(element);
    drawers.set(element, () => {
      if (camera) figure.layout.scene.camera = structuredClone(camera);
      plotter(figure)(element);
      if (live.includes(element)) return;
      live.push(element);
      element.parentElement.classList.add("live");
      element.on("plotly_relayout", (change) => turn(element, change["scene.camera"]));
    });
    if (!coarse) return;
    element.parentElement.addEventListener("click", () => {
      if (live.length === LIVE) retire(live[0]);
      draw(element);
    });
  }
  function retire(element) {
    live.splice(live.indexOf(element), 1);
    Plotly.purge(element);
    element.parentElement.classList.remove("live");
    delete element.dataset.drawn;
  }
  function updateLive() {
    const distances = new Map(surfaces.map((element) => {
      const { top, bottom } = element.parentElement.getBoundingClientRect();
      return [element, Math.abs((top + bottom - innerHeight) / 2)];
    }));
    const near = surfaces.filter((element) => distances.get(element) < innerHeight / 2 + 300);
    const chosen = near.sort((one, other) => distances.get(one) - distances.get(other)).slice(0, LIVE);
    live.filter((element) => !chosen.includes(element)).forEach(retire);
    chosen.forEach(draw);
  }
  let timer = null;
  function updateLiveSoon() {
    clearTimeout(timer);
    timer = setTimeout(updateLive, 80);
  }
  let turning = false;
  function turn(source, turned) {
    if (!turned || turning) return;
    turning = true;
    camera = turned;
    const others = live.filter((other) => other !== source);
    Promise.all(others.map((other) => Plotly.relayout(other, { "scene.camera": structuredClone(camera) })))
      .finally(() => { turning = false; });
  }

  // ---- the two codes in the plane

  const card = find("#card");
  function planes(drawn) {
    const colourings = drawn.colourings.map((one) => ({ ...one, numbers: array(one.numbers) }));
    const positions = Object.fromEntries(
      Object.entries(drawn.codes).map(([code, { x, y }]) => [code, { x: array(x), y: array(y) }]),
    );
    const elements = findAll("[data-plane]");
    const count = drawn.rows.length;
    let chosen = 0;
    let alone = null;

    function colours() {
      if (!colourings.length) return Array(count).fill(colour("var(--class-0)"));
      const { numbers, colours: names } = colourings[chosen];
      const [faint, ...shown] = ["var(--faint)", ...names].map(colour);
      return Array.from(numbers, (k) => (k < 0 || (alone !== null && k !== alone) ? faint : shown[k]));
    }
    function traces(code) {
      const { x, y } = positions[code];
      const all = colours();
      const part = (from, to, size, opacity) => ({
        type: "scattergl", mode: "markers", x: x.subarray(from, to), y: y.subarray(from, to),
        marker: { color: all.slice(from, to), size, opacity, line: { width: 0 } },
      });
      const pictured = part(0, drawn.pictured, drawn.size + (count > drawn.pictured ? 1.5 : 0), 0.9);
      const others = part(drawn.pictured, count, drawn.size, 0.55);
      return count > drawn.pictured
        ? [{ ...others, hoverinfo: "skip" }, { ...pictured, hoverinfo: "none" }]
        : [{ ...pictured, hoverinfo: "none" }];
    }
    const hidden = { visible: false, zeroline: false, showgrid: false };
    const layout = {
      margin: { l: 8, r: 8, t: 8, b: 8 }, showlegend: false, hovermode: "closest", hoverdistance: 12,
      dragmode: coarse ? false : "zoom",
      xaxis: hidden, yaxis: { ...hidden, scaleanchor: "x" },
    };
    function drawPlane(element) {
      Plotly.react(element, traces(element.dataset.plane), themedLayout(layout, element), { ...config, doubleClick: coarse ? false : "reset" });
      if (element.dataset.hovers) return;
      element.dataset.hovers = "yes";
      element.on(coarse ? "plotly_click" : "plotly_hover", (event) => point(element, event));
      if (!coarse) ["plotly_unhover", "plotly_relayout"].forEach((event) => element.on(event, hideCard));
    }
    function point(element, { points }) {
      const image = points[0].pointNumber;
      hideCard();
      for (const other of elements) ring(other, image);
      const words = [`row ${drawn.rows[image]}`];
      for (const { title, names, numbers } of colourings) {
        words.push(`${title}: ${numbers[image] < 0 ? "unknown" : names[numbers[image]]}`);
      }
      const lines = words.map((word, index) => {
        const line = document.createElement(index ? "div" : "b");
        line.textContent = word;
        return line;
      });
      find(".words", card).replaceChildren(...lines);
      const picture = find(".thumb", card);
      picture.hidden = !drawn.sheet;
      if (drawn.sheet) {
        const { columns, rows } = drawn.sheet;
        const [row, column] = [Math.floor(drawn.pictures[image] / columns), drawn.pictures[image] % columns];
        const share = (index, of) => (100 * index) / Math.max(of - 1, 1);
        picture.style.backgroundPosition = `${share(column, columns)}% ${share(row, rows)}%`;
      }
      card.hidden = false;
      const mark = find(".ring", element).getBoundingClientRect();
      const [x, y] = [mark.left + mark.width / 2, mark.top + mark.height / 2];
      const box = card.getBoundingClientRect();
      const left = x + 18 + box.width < innerWidth ? x + 18 : Math.max(8, x - 18 - box.width);
      card.style.left = `${Math.min(left, innerWidth - box.width - 8)}px`;
      card.style.top = `${Math.max(8, Math.min(y + 18, innerHeight - box.height - 8))}px`;
    }
    function ring(element, image) {
      if (element.dataset.drawn === undefined) return;
      const { x, y } = positions[element.dataset.plane];
      const { xaxis, yaxis } = element._fullLayout;
      const mark = document.createElement("div");
      mark.className = "ring";
      mark.style.left = `${xaxis._offset + xaxis.l2p(x[image])}px`;
      mark.style.top = `${yaxis._offset + yaxis.l2p(y[image])}px`;
      element.append(mark);
    }
    function hideCard() {
      card.hidden = true;
      findAll(".plane > .ring").forEach((mark) => mark.remove());
    }
    function recolour() {
      hideCard();
      for (const element of elements) if (element.dataset.drawn !== undefined) drawPlane(element);
    }
    function legend() {
      const list = find("#legend");
      if (!list || !colourings.length) return;
      const { names, counts, colours: shades, legend: has, title } = colourings[chosen];
      if (!has) {
        list.replaceChildren(Object.assign(document.createElement("small"), { textContent: `${names.length} values of ${title}, one colour each` }));
        return;
      }
      list.replaceChildren(...names.map((name, number) => {
        const button = document.createElement("button");
        button.type = "button";
        button.setAttribute("aria-pressed", String(alone === number));
        const [swatch, words, many] = ["i", "span", "small"].map((tag) => document.createElement(tag));
        swatch.className = "swatch";
        swatch.style.setProperty("--colour", shades[number]);
        words.className = "words";
        words.textContent = name;
        many.textContent = counts[number].toLocaleString("en");
        button.append(swatch, words, many);
        button.addEventListener("click", () => {
          alone = alone === number ? null : number;
          legend();
          recolour();
        });
        return button;
      }));
    }
    for (const button of findAll("[data-colouring]")) {
      button.addEventListener("click", () => {
        [chosen, alone] = [Number(button.dataset.colouring), null];
        findAll("[data-colouring]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        legend();
        recolour();
      });
    }
    legend();
    elements.forEach((element) => drawWhenInView(element, drawPlane));
    addEventListener("scroll", hideCard, { passive: true });
    if (coarse) addEventListener("pointerdown", hideCard);
  }

  // ---- the grid of transfers: frames around the source images of a hybrid

  const mosaic = find("#mosaic");
  if (mosaic) {
    const [rows, columns] = [Number(mosaic.dataset.rows) + 1, Number(mosaic.dataset.columns) + 1];
    const clear = () => findAll(".frame-of", mosaic).forEach((frame) => frame.remove());
    const frame = (row, column, name) => {
      const [wide, high] = [mosaic.clientWidth / columns, mosaic.clientHeight / rows];
      const mark = document.createElement("div");
      mark.className = "frame-of";
      Object.assign(mark.style, {
        left: `${column * wide}px`, top: `${row * high}px`, width: `${wide}px`, height: `${high}px`,
        borderColor: `var(--${name})`,
      });
      mosaic.append(mark);
    };
    mosaic.addEventListener("pointermove", (event) => {
      const box = mosaic.getBoundingClientRect();
      const column = Math.floor(((event.clientX - box.left) / box.width) * columns);
      const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
      clear();
      if (row < 1 || column < 1) return;
      frame(row, 0, "content");
      frame(0, column, "transformation");
      frame(row, column, "text");
    });
    mosaic.addEventListener("pointerleave", clear);
  }

  // ---- copy buttons, and the current section in the navigation

  for (const button of findAll(".copy")) {
    button.addEventListener("click", async () => {
      const code = find("code", button.parentElement);
      getSelection().selectAllChildren(code);
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "copied";
        setTimeout(() => { button.textContent = "copy"; }, 1500);
      } catch { /* the text is selected, so it can be copied by hand */ }
    });
  }
  const links = new Map(findAll("nav a").map((link) => [link.hash.slice(1), link]));
  const inSight = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      links.forEach((link, id) => link.classList.toggle("here", id === target.id));
      const [bar, here] = [find("nav"), links.get(target.id)]; // on a phone it is a row wider than the screen
      bar.scrollLeft = here.offsetLeft - (bar.clientWidth - here.offsetWidth) / 2;
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  findAll("section").forEach((section) => inSight.observe(section));

  // ---- the theme

  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  find("#theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("dualcontrast-theme", root.dataset.theme); } catch { /* not stored: it lasts until the page is closed */ }
    redrawAll();
  });
  prefersDark.addEventListener("change", redrawAll);

  // ---- start

  async function start() {
    const [library, figures] = await Promise.all(["plotly", "figures"].map(decompressed));
    find("#plotly").remove();
    const script = document.createElement("script");
    script.textContent = library;
    document.head.append(script);
    const drawn = JSON.parse(figures);
    if (drawn.embeddings) planes(drawn.embeddings);
    for (const element of findAll("[data-figure]")) {
      const figure = drawn[element.dataset.figure];
      if (element.dataset.turns !== undefined) surface(element, figure);
      else drawWhenInView(element, plotter(figure));
    }
    if (!coarse) {
      ["scroll", "resize"].forEach((event) => addEventListener(event, updateLiveSoon, { passive: true }));
      updateLive();
    }
    addEventListener("beforeprint", () => {
      printing = true;
      for (const element of drawers.keys()) if (element.dataset.turns === undefined) draw(element);
      redrawAll(); // in light colours, as the style sheet prints
    });
    addEventListener("afterprint", () => {
      printing = false;
      setTimeout(redrawAll);
    });
    root.dataset.ready = "";
  }
  start().catch((error) => {
    const trouble = find("#trouble");
    trouble.textContent = `Plots cannot be drawn in this browser (${error.message}); try a newer one.`;
    trouble.hidden = false;
    throw error;
  });
})();
