"use strict";
// Turns the landscapes, opens everything for print, and says where a table scrolls. Reads the JSON beside it, draws on canvases, asks
// nobody for anything.
(() => {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach(details => { details.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach(details => { details.open = false; }));

  // A part that scrolls sideways says so and takes the focus, so that arrow keys move it.
  const scrolls = new ResizeObserver(entries => {
    for (const { target } of entries) {
      const wide = target.scrollWidth > target.clientWidth + 1;
      target.classList.toggle("wide", wide);
      if (wide) target.tabIndex = 0; else target.removeAttribute("tabindex");
    }
  });
  document.querySelectorAll(".scroll, .figures figure").forEach(part => scrolls.observe(part));

  const data = JSON.parse(document.getElementById("landscapes").textContent);
  const eye = { around: data.eye[0], above: data.eye[1] };
  const views = [];

  for (const figure of document.querySelectorAll("figure[data-landscape]")) {
    const surface = data.surfaces[Number(figure.dataset.landscape)];
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", figure.querySelector("title").textContent + ". Arrow keys turn it, Home turns it back.");
    figure.querySelector(".picture").append(canvas);
    figure.classList.add("turns");
    views.push({ surface, canvas, says: figure.querySelector("output"), points: [] });
  }
  if (views.length === 0) return;
  document.body.classList.add("turns");

  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; views.forEach(draw); });
  };

  for (const view of views) {
    const { canvas } = view;
    let held = null;
    canvas.addEventListener("pointerdown", event => {
      held = { x: event.clientX, y: event.clientY, around: eye.around, above: eye.above };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", event => {
      if (held === null) { name(view, event); return; }
      turn(held.around + (event.clientX - held.x) / 130, held.above + (event.clientY - held.y) / 170);
    });
    const release = () => { held = null; };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => { view.says.textContent = ""; view.named = null; redraw(); });
    canvas.addEventListener("dblclick", () => turn(data.eye[0], data.eye[1]));
    canvas.addEventListener("keydown", event => {
      if (event.key === "Home") { event.preventDefault(); turn(data.eye[0], data.eye[1]); return; }
      const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      turn(eye.around + step[0], eye.above + step[1]);
    });
  }
  new ResizeObserver(redraw).observe(views[0].canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  redraw();

  function turn(around, above) {
    eye.around = around;
    eye.above = Math.min(1.5, Math.max(0.02, above));
    redraw();
  }

  // A point of the box on the canvas: x, y in [-1, 1] along the axes, z in [0, 1] from floor to lid.
  function projection(width, height, zoom) {
    const [ca, sa, ce, se] = [Math.cos(eye.around), Math.sin(eye.around), Math.cos(eye.above), Math.sin(eye.above)];
    return (x, y, z) => {
      const up = (z - 0.5) * data.box * ce + (x * sa + y * ca) * se;
      return [width / 2 + zoom * (x * ca - y * sa), height * 0.48 - zoom * up];
    };
  }

  // Pixels per unit of the box. The words beside it, whose places are at most 1.43 from its middle, fit wherever the eye stands;
  // landscapes of one width have one zoom.
  function zoom(paint, width) {
    const words = views.flatMap(({ surface }) => [...surface.x_words, ...surface.y_words, ...data.scales[surface.scale].ticks.map(tick => tick[1])]);
    const widest = Math.max(0, ...words.map(word => paint.measureText(word).width));
    return Math.max(width / 8, Math.min(width / 3.9, (width / 2 - widest - 7) / 1.43));
  }

  function colour(share) {
    return data.colours[Math.round(Math.min(1, Math.max(0, share)) * (data.colours.length - 1))];
  }

  function draw(view) {
    const { surface, canvas } = view;
    const width = canvas.clientWidth, height = canvas.clientHeight, dots = window.devicePixelRatio || 1;
    if (width === 0) return;
    canvas.width = Math.round(width * dots);
    canvas.height = Math.round(height * dots);
    const paint = canvas.getContext("2d");
    paint.scale(dots, dots);
    const style = getComputedStyle(document.documentElement);
    const [ink, quiet, rule] = ["--ink", "--quiet", "--rule"].map(name => style.getPropertyValue(name).trim());
    paint.font = "11px " + getComputedStyle(document.body).fontFamily;
    const see = projection(width, height, zoom(paint, width));
    const scale = data.scales[surface.scale];
    const share = value => (value - scale.range[0]) / (scale.range[1] - scale.range[0]);
    const columns = surface.x.length, rows = surface.y.length;
    const place = (index, count) => count > 1 ? 2 * index / (count - 1) - 1 : 0;
    const line = (points, closed) => {
      paint.beginPath();
      points.forEach(([x, y], k) => k === 0 ? paint.moveTo(x, y) : paint.lineTo(x, y));
      if (closed) paint.closePath();
    };

    // The far walls and the floor; which walls are far depends on where the eye stands.
    const farX = Math.sin(eye.around) > 0 ? 1 : -1, farY = Math.cos(eye.around) > 0 ? 1 : -1;
    paint.strokeStyle = rule;
    paint.lineWidth = 0.8;
    for (const [x, y] of [[-farX, farY], [farX, farY], [farX, -farY]]) { line([see(x, y, 0), see(x, y, 1)]); paint.stroke(); }
    line([see(-1, -1, 0), see(-1, 1, 0), see(1, 1, 0), see(1, -1, 0)], true);
    paint.stroke();
    const corners = [[-farX, farY], [farX, -farY]];
    const left = corners.sort((a, b) => see(a[0], a[1], 0)[0] - see(b[0], b[1], 0)[0])[0];
    paint.fillStyle = quiet;
    paint.textBaseline = "middle";
    // Ticks whose words would touch have a line and no words; zero keeps its own.
    const rises = scale.ticks.map(([value]) => see(left[0], left[1], share(value))[1]);
    const apart = rises.length > 1 ? Math.abs(rises[0] - rises[1]) : 99;
    const every = Math.max(1, Math.ceil(13 / Math.max(apart, 1)));
    const zero = Math.max(0, scale.ticks.findIndex(([value]) => value === 0));
    for (const [k, [value, words]] of scale.ticks.entries()) {
      const z = share(value);
      line([see(-farX, farY, z), see(farX, farY, z), see(farX, -farY, z)]);
      paint.stroke();
      const [x, y] = see(left[0], left[1], z);
      paint.textAlign = "right";
      if ((k - zero) % every === 0) paint.fillText(words, x - 5, y);
    }

    // Where the class changes, on the floor.
    if (surface.moved.length > 0) {
      paint.fillStyle = data.alarm;
      paint.globalAlpha = 0.4;
      const edge = (index, count) => count > 1 ? Math.min(1, Math.max(-1, (2 * index - 1) / (count - 1) - 1)) : 0;
      for (const [j, from, to] of surface.moved) {
        const [a, b, c, d] = [edge(from, columns), edge(to, columns), edge(j, rows), edge(j + 1, rows)];
        line([see(a, c, 0), see(b, c, 0), see(b, d, 0), see(a, d, 0)], true);
        paint.fill();
      }
      paint.globalAlpha = 1;
    }

    // The surface from far to near. A point without a finite height is null, and its cells are left out.
    const order = (count, far) => Array.from({ length: Math.max(0, count - 1) }, (_, k) => far > 0 ? count - 2 - k : k);
    const height_at = (i, j) => surface.z[j * columns + i];
    view.points = [];
    for (let j = 0; j < rows; j++) for (let i = 0; i < columns; i++) {
      const value = height_at(i, j);
      view.points.push(value === null ? null : see(place(i, columns), place(j, rows), share(value)));
    }
    paint.lineJoin = "round";
    paint.lineWidth = 0.5;
    for (const j of order(rows, farY)) for (const i of order(columns, farX)) {
      const at = [j * columns + i, j * columns + i + 1, (j + 1) * columns + i + 1, (j + 1) * columns + i];
      if (at.some(k => surface.z[k] === null || surface.z[k] === undefined)) continue;
      line(at.map(k => view.points[k]), true);
      paint.fillStyle = colour(share(at.reduce((sum, k) => sum + surface.z[k], 0) / 4));
      paint.fill();
      paint.strokeStyle = "rgba(20, 24, 34, .38)";
      paint.stroke();
    }

    // The balls of the marked radii, dashed.
    for (const ball of surface.rings) {
      for (let k = 0; k + 1 < ball.length; k += 2) {
        if (ball[k][2] === null || ball[k + 1][2] === null) continue;
        line([ball[k], ball[k + 1]].map(([x, y, z]) => see(x, y, share(z))));
        for (const [wide, shade] of [[3, "#fff"], [1.3, "#141820"]]) {
          paint.lineWidth = wide;
          paint.strokeStyle = shade;
          paint.stroke();
        }
      }
    }

    const ring = (at, radius, fill) => {
      paint.beginPath();
      paint.arc(at[0], at[1], radius, 0, 2 * Math.PI);
      paint.fillStyle = fill;
      paint.fill();
      paint.lineWidth = 1.4;
      paint.strokeStyle = "#1f2430";
      paint.stroke();
    };
    if (surface.centre !== null && view.points[surface.centre]) ring(view.points[surface.centre], 3.6, "#fff");
    if (view.named != null && view.points[view.named]) ring(view.points[view.named], 3.2, data.alarm);

    // Ends and middle of both axes along the near edges.
    for (const along_x of [true, false]) {
      const words = along_x ? surface.x_words : surface.y_words;
      const near = along_x ? -farY : -farX;
      const at = (share, out) => along_x ? see(share, near * (1 + out), 0) : see(near * (1 + out), share, 0);
      const right = at(0, 0.1)[0] > see(0, 0, 0)[0];
      paint.textAlign = right ? "left" : "right";
      [-0.9, 0, 0.9].forEach((share, k) => {
        paint.fillStyle = quiet;
        const [x, y] = at(share, 0.1);
        paint.fillText(words[k] ?? "", x, y + 6);
      });
      paint.fillStyle = ink;
      const [x, y] = at(0.45, 0.16);
      paint.fillText(along_x ? "ε₁" : "ε₂", x, y + 6);
    }
  }

  // Names the grid point under the pointer.
  function name(view, event) {
    const { surface, canvas, points } = view;
    const box = canvas.getBoundingClientRect();
    let best = null, least = 144;
    points.forEach((point, k) => {
      if (point === null) return;
      const distance = (point[0] - event.clientX + box.left) ** 2 + (point[1] - event.clientY + box.top) ** 2;
      if (distance < least) { least = distance; best = k; }
    });
    view.named = best;
    if (best === null) {
      view.says.textContent = "";
    } else {
      const columns = surface.x.length, i = best % columns, j = Math.floor(best / columns);
      const spelled = value => (surface.pixels ? (255 * value).toFixed(1) + "/255" : value.toPrecision(3)).replace("-", "−");
      const kind = surface.classes[best] ?? null;
      view.says.textContent = `ε₁ = ${spelled(surface.x[i])}, ε₂ = ${spelled(surface.y[j])}: ${String(surface.z[best]).replace("-", "−")}` + (kind === null ? "" : `, class ${data.classes[kind] ?? kind}`);
    }
    redraw();
  }
})();
