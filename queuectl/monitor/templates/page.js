// The script of status.html. It needs no server and fetches nothing: it searches, sorts and folds what the page shows,
// counts times on, copies commands, and loads the page anew when the reader does nothing with it.
(function () {
  "use strict";
  var body = document.body, written = document.getElementById("written"), stale = document.getElementById("stale");
  var tools = document.getElementById("tools"), find = document.getElementById("find");
  var hits = document.getElementById("hits"), said = document.getElementById("said");
  var wroteAt = Date.parse(written.dateTime), run = body.dataset.run;
  var STALE_S = Number(body.dataset.stale), RELOAD_S = Number(body.dataset.reload), FOLD = 8, KEY = "queuectl";
  var all = function (query, from) { return Array.prototype.slice.call((from || document).querySelectorAll(query)); };
  var make = function (tag, name, text) {
    var made = document.createElement(tag);
    if (name) { made.className = name; }
    if (text) { made.textContent = text; }
    return made;
  };
  moveDue();
  var tables = all("main table"), state = read();
  all("details").forEach(function (each) { each.open = (state.details || []).indexOf(each.dataset.id) >= 0; });

  // What the reader has chosen outlives a reload: in sessionStorage, or nowhere if the browser refuses it for files.
  // The browser keeps the place.
  function read() {
    try { return JSON.parse(sessionStorage.getItem(KEY + location.pathname)) || {}; } catch (error) { return {}; }
  }
  function keep() {
    var at = document.activeElement;
    state.focus = at && at !== body ? at.id || at.getAttribute("data-focus") || "" : "";
    if (at === find) { state.caret = find.selectionStart; }
    state.details = all("details[open]").map(function (each) { return each.dataset.id; });
    try { sessionStorage.setItem(KEY + location.pathname, JSON.stringify(state)); } catch (error) { return; }
  }

  // Where no worker writes the page anew, a job becomes due after the page was written. Then it belongs to what is next.
  function moveDue() {
    var later = document.getElementById("later"), next = document.getElementById("waiting"), headline, left;
    var due = all("#later tbody tr").filter(function (row) {
      return Date.parse(row.querySelector("time.in").dateTime) <= Date.now();
    });
    function count(section, change) {
      var place = section.querySelector(".count"), number = Number(place.textContent.replace(/,/g, "")) + change;
      place.textContent = number.toLocaleString("en");
      return number;
    }
    if (!due.length) { return; }
    if (!next) {
      next = later.cloneNode(true);
      next.id = "waiting";
      next.setAttribute("aria-labelledby", "h-waiting");
      next.querySelector("h2").id = "h-waiting";
      next.querySelector("h2").firstChild.textContent = "Next ";
      next.querySelectorAll("th")[1].textContent = "Waiting for";
      all("tbody tr, p", next).forEach(function (each) { each.remove(); });
      count(next, -count(next, 0));
      later.before(next);
    }
    due.forEach(function (row) {
      row.querySelector("time.in").className = "for";
      row.cells[1].prepend(make("i", "", "waiting "));
      next.querySelector("tbody").append(row);
    });
    count(next, due.length);
    left = count(later, -due.length);
    if (!left) { later.remove(); }
    all('.stats a[href="#later"]').forEach(function (each) { each.setAttribute("href", "#waiting"); });
    all(".stats small span").forEach(function (each) {
      if (!/^[\d,]+ later$/.test(each.textContent)) { return; }
      if (left) { each.textContent = left.toLocaleString("en") + " later"; } else { each.remove(); }
    });
    headline = document.querySelector("h1");
    var isAlone = !/ waiting/.test(headline.textContent);
    Array.prototype.forEach.call(headline.childNodes, function (each) {
      if (each.nodeType !== Node.TEXT_NODE) { return; }
      each.textContent = each.textContent.replace(/\d+ due later/, function () {
        return due.length + (isAlone ? " waiting" : " due now") + (left ? ", " + left + " due later" : "");
      });
    });
  }

  // ------------------------------------------------------------------------------------------------------------ times
  // The same words as `span_text` in page_facts.py, and for `about` as `about` in headline.py.
  function span(seconds, exact, about) {
    var whole = Math.max(0, Math.floor(seconds)), rest;
    if (about && whole >= 3600) {
      return whole < 172800 ? Math.floor(whole / 3600) + " h" : Math.floor(whole / 86400) + " days";
    }
    if (whole < 60) { return whole + " s"; }
    if (whole < 3600) { return Math.floor(whole / 60) + " min" + (exact && whole % 60 ? " " + whole % 60 + " s" : ""); }
    if (whole < 86400) {
      rest = Math.floor(whole % 3600 / 60);
      return Math.floor(whole / 3600) + " h" + (rest ? " " + rest + " min" : "");
    }
    rest = Math.floor(whole % 86400 / 3600);
    return Math.floor(whole / 86400).toLocaleString("en") + " d" + (rest ? " " + rest + " h" : "");
  }
  var clocks = all("time").map(function (each) {
    return { node: each, at: Date.parse(each.dateTime), kind: each.className, isExact: each.classList.contains("exact"), isFor: each.classList.contains("for"),
      isAbout: each.classList.contains("about") };
  });
  function tick() {
    var now = Date.now(), age = (now - wroteAt) / 1000, isOld = age > STALE_S;
    if (stale) {
      document.getElementById("age").textContent = span(age);
      stale.hidden = !isOld;
      if (isOld) { document.querySelector("h1").className = "is-bad"; }
    }
    clocks.forEach(function (each) {
      var passed = (now - each.at) / 1000, text;
      if (each.isFor) {
        if (isOld && each.isExact) { return; }  // nobody knows whether it still runs
        text = span(passed, each.isExact, each.isAbout);
        var bar = each.isExact && each.node.closest("tr").querySelector(".bar");
        if (bar) {
          bar.querySelector(".fill").setAttribute("width", Math.max(0, Math.min(100, passed / bar.dataset.total * 100)) + "%");
        }
      } else if (each.kind === "in") {
        text = passed < 0 ? "in " + span(-passed) : "now";
      } else {
        text = span(passed) + " ago";
      }
      if (each.node.textContent !== text) { each.node.textContent = text; }
    });
  }
  document.addEventListener("mouseover", function (event) {
    var at = event.target.closest && event.target.closest("time");
    if (at && !at.title) { at.title = new Date(at.dateTime).toLocaleString(); }
  });

  // ------------------------------------------------------------------------------------------------------- copy buttons
  function copyButton(command, label, about) {
    var button = make("button", "copy", "Copy " + label);
    button.type = "button";
    button.title = command;
    button.setAttribute("data-focus", "copy:" + command);
    if (about) { button.setAttribute("aria-label", "Copy " + label + " command for " + about); }
    button.addEventListener("click", function () {
      var text = button.textContent;
      function done() {
        button.textContent = "Copied";
        said.textContent = "Copied: " + command;
        setTimeout(function () { button.textContent = text; }, 1500);
      }
      function select() {  // no clipboard: the reader copies the selected command
        var field = make("input", "copied");
        field.readOnly = true;
        field.value = command;
        field.size = Math.min(60, command.length + 1);
        field.setAttribute("aria-label", "Command to copy");
        button.replaceWith(field);
        field.focus();
        field.select();
        field.addEventListener("blur", function () { field.replaceWith(button); });
      }
      try { navigator.clipboard.writeText(command).then(done, select); } catch (error) { select(); }
    });
    return button;
  }
  all("code.run").forEach(function (code) {
    var command = code.textContent;
    if (/ ID$/.test(command)) { return; }
    code.after(copyButton(command.replace(/^queuectl/, function () { return run; }), "", command));
    code.nextSibling.textContent = "Copy";
    code.nextSibling.classList.add("beside");
  });
  all("span[data-copy]").forEach(function (place) {
    place.append(copyButton(run + " " + place.dataset.copy, place.dataset.label));
  });
  all("table[data-verb]").forEach(function (table) {
    all("tbody tr", table).forEach(function (row) {
      var cell = row.querySelector(".acts"), id = row.querySelector(".id").textContent, verb = table.dataset.verb;
      // Only an id that no shell takes for anything else gets into a command.
      if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(id)) {
        cell.prepend(copyButton(run + " " + verb + " " + id, verb.split(" ").pop(), id));
      }
    });
  });

  // -------------------------------------------------------------------------------------------- search, views, sorting
  var rows = [];
  tables.forEach(function (table) {
    var isJob = !!table.closest("section[data-view]");
    var tbody = table.tBodies[0], found = all("tr", tbody).map(function (row, at) {
      // Not what is written on links and buttons.
      var text = all("td:not(.acts)", row).map(function (cell) { return cell.textContent; }).join(" ").toLowerCase();
      return { row: row, at: at, text: text, isJob: isJob };
    });
    rows = rows.concat(found);
    table.found = found;
    table.key = (table.closest("section") || {}).id + ":" + all("table", table.closest("section")).indexOf(table);
    if (found.length > FOLD) {
      table.all = make("button", "all");
      table.all.type = "button";
      table.all.setAttribute("data-focus", "all:" + table.key);
      table.all.addEventListener("click", function () {
        state.open = state.open || {};
        state.open[table.key] = !state.open[table.key];
        show();
      });
      table.after(table.all);
    }
    (found.length > 1 ? all("thead th:not(.acts)", table) : []).forEach(function (head, column) {
      var button = make("button", "", head.textContent);
      button.type = "button";
      button.setAttribute("data-focus", "sort:" + table.key + ":" + column);
      head.textContent = "";
      head.append(button);
      button.addEventListener("click", function () {
        state.sort = state.sort || {};
        var now = state.sort[table.key];
        var next = !now || now[0] !== column ? 1 : now[1] === 1 ? -1 : 0;
        if (next) { state.sort[table.key] = [column, next]; } else { delete state.sort[table.key]; }
        sort(table);
        show();
      });
    });
    sort(table);
  });
  // A cell sorts by its instant, by its number, or by its text.
  function keyOf(row, column) {
    var cell = row.cells[column], time = cell.querySelector("time"), text = cell.textContent.replace(/^(took|waiting|started) /, "").trim();
    if (time) { return Date.parse(time.dateTime); }
    var match = /^(-?[\d.,]+)\s*(ms|s|min|h|d|bytes|KB|MB)?(?![\w.-])/.exec(text);
    var units = { ms: 0.001, s: 1, min: 60, h: 3600, d: 86400, bytes: 1, KB: 1e3, MB: 1e6 };
    return match ? Number(match[1].replace(/,/g, "")) * (units[match[2]] || 1) : text.toLowerCase();
  }
  function sort(table) {
    var by = (state.sort || {})[table.key], tbody = table.tBodies[0];
    var ordered = table.found.slice();
    if (by) {
      ordered.forEach(function (each) { each.key = keyOf(each.row, by[0]); });
      ordered.sort(function (one, other) {
        var isText = typeof one.key === "string" || typeof other.key === "string";
        var order = isText ? String(one.key).localeCompare(String(other.key)) : one.key - other.key;
        return order * by[1] || one.at - other.at;
      });
    }
    ordered.forEach(function (each) { tbody.append(each.row); });
    table.ordered = ordered;
    all("thead th:not(.acts)", table).forEach(function (head, column) {
      var order = by && by[0] === column ? by[1] > 0 ? "ascending" : "descending" : "";
      if (order) { head.setAttribute("aria-sort", order); } else { head.removeAttribute("aria-sort"); }
    });
  }
  var sections = all("main section"), views = {};
  sections.forEach(function (each) { if (each.dataset.view) { views[each.dataset.view] = true; } });
  function show() {
    var words = (state.q || "").toLowerCase().split(/\s+/).filter(Boolean), shown = 0, total = 0;
    tables.forEach(function (table) {
      var isOpen = words.length || (state.open || {})[table.key], count = 0, left = 0;
      var cause = table.closest(".cause"), about = cause ? all("h3, pre", cause).map(function (each) {
        return each.textContent.toLowerCase();
      }).join(" ") : "";
      table.ordered.forEach(function (each) {
        var isHit = words.every(function (word) { return each.text.indexOf(word) >= 0 || about.indexOf(word) >= 0; });
        var isFolded = isHit && !isOpen && count >= FOLD;
        each.row.hidden = !isHit;
        each.row.classList.toggle("folded", isFolded);  // on the screen; paper shows all
        if (isFolded) { left += 1; }
        count += isHit ? 1 : 0;
      });
      table.hidden = !count;
      table.count = count;
      if (table.all) {
        table.all.hidden = !!words.length;
        table.all.textContent = left ? "Show all " + table.found.length : "Show fewer";
        table.all.setAttribute("aria-expanded", left ? "false" : "true");
      }
      if (cause) { cause.hidden = words.length > 0 && !count; }
    });
    sections.forEach(function (section) {
      var inside = all("table", section), count = 0;
      inside.forEach(function (table) { count += table.count; });
      var isView = !state.view || section.dataset.view === state.view;
      section.hidden = !isView || (words.length > 0 && !count);
      if (isView) { shown += count; inside.forEach(function (table) { total += table.found.length; }); }
    });
    if (hits) { hits.textContent = words.length ? shown + " of " + total + " rows" : ""; }
    all("button", tools || make("div")).forEach(function (each) {
      each.setAttribute("aria-pressed", String((state.view || "") === each.value));
    });
  }
  if (tools) {
    if (state.view && !views[state.view]) { state.view = ""; }
    var names = [""].concat(Object.keys(views));
    (names.length > 2 ? names : []).forEach(function (name) {
      var button = make("button", "", name || "Everything");
      button.type = "button";
      button.value = name;
      button.setAttribute("data-focus", "view:" + name);
      button.addEventListener("click", function () { state.view = name; show(); });
      tools.querySelector(".views").append(button);
    });
    find.value = state.q || "";
    find.addEventListener("input", function () { state.q = find.value; busyAt = Date.now(); show(); });
    tools.addEventListener("submit", function (event) { event.preventDefault(); });
    tools.hidden = rows.filter(function (each) { return each.isJob; }).length < 4;
    document.addEventListener("keydown", function (event) {
      var isField = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (event.key === "/" && !isField && !event.ctrlKey && !event.metaKey && !event.altKey && !tools.hidden) {
        event.preventDefault();
        find.focus();
        find.select();
      } else if (event.key === "Escape" && event.target === find) {
        find.value = state.q = "";
        show();
      }
    });
    // A link to a section that is hidden now shows everything first.
    all('a[href^="#"]').forEach(function (each) {
      each.addEventListener("click", function () {
        var target = document.getElementById(each.hash.slice(1));
        if (target && target.hidden) { state.view = state.q = find.value = ""; show(); }
      });
    });
  }

  // ----------------------------------------------------------------------------------------------- values of a chart
  all(".plot").forEach(function (plot) {
    var values = plot.dataset.values.split(" "), area = plot.querySelector("svg");
    var output = plot.parentNode.querySelector(".read");
    area.addEventListener("pointermove", function (event) {
      var box = area.getBoundingClientRect(), at = Math.floor((event.clientX - box.left) / box.width * values.length);
      var value = values[Math.max(0, Math.min(values.length - 1, at))];
      var ago = (values.length - 1 - at) * plot.dataset.slot, parts = value.split(",");
      output.textContent = (ago > 0 ? span(ago) + " ago: " : "now: ") + (value === "-" ? "unknown"
        : plot.dataset.kind === "depth" ? value + " waited"
        : parts[0] + " done" + (Number(parts[1]) ? ", " + parts[1] + " failed" : ""));
    });
    area.addEventListener("pointerleave", function () { output.textContent = ""; });
  });

  // ------------------------------------------------------------------------------------------------------- loading anew
  var busyAt = 0, loadedAt = Date.now();
  function isBusy() {
    var selected = window.getSelection && String(window.getSelection());
    return document.hidden || selected || Date.now() - busyAt < 3000 || document.querySelector("input.copied");
  }
  function reload() {
    if (Date.now() - loadedAt >= RELOAD_S * 1000 && !isBusy()) { keep(); location.reload(); }
  }
  ["keydown", "pointerdown", "wheel", "touchmove"].forEach(function (kind) {
    document.addEventListener(kind, function () { busyAt = Date.now(); }, { passive: true });
  });
  window.addEventListener("pagehide", keep);
  if (RELOAD_S > 0) {
    setInterval(reload, 1000);
    document.addEventListener("visibilitychange", reload);
  }

  show();
  tick();
  setInterval(tick, 1000);
  if (state.focus) {
    var focused = document.getElementById(state.focus);
    all("[data-focus]").forEach(function (each) {
      if (each.getAttribute("data-focus") === state.focus) { focused = each; }
    });
    if (focused) {
      focused.focus({ preventScroll: true });
      if (focused === find && state.caret !== undefined) { find.setSelectionRange(state.caret, state.caret); }
    }
  }
})();
