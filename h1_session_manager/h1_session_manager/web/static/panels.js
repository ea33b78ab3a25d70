// SPDX-License-Identifier: Apache-2.0
// What is heard of each part of the session, in words and figures.
const GB = 1e9;
const WITH_EPISODE = ["EXECUTING", "LABELING", "DAMPING", "SAVING", "DECIDING", "STOPPED"];
// The states in which the recorder's figures are about the episode that the page is about.
const $ = (id) => document.getElementById(id);

function fill(id, rows) {
  const shown = JSON.stringify(rows);
  const list = $(id);
  if (list.dataset.shown === shown) return;
  list.dataset.shown = shown;
  list.replaceChildren(...rows.filter(Boolean).flatMap(([name, value, mark = ""]) => {
    const term = document.createElement("dt");
    const description = document.createElement("dd");
    term.textContent = name;
    description.textContent = value;
    description.className = mark;
    return [term, description];
  }));
}

export function showPanels(live) {
  const { sections, ages_s: ages } = live;
  preflight(sections);
  recorder(sections.recorder, ages.recorder, sections.session);
  policy(sections.policy, sections.training, ages.policy);
  robot(sections, ages);
  upload(sections.sync);
  events(live.events || []);
  const lines = (live.lines || []).join("\n");
  if ($("lines").textContent !== lines) {
    $("lines").textContent = lines;
    $("lines").scrollTop = $("lines").scrollHeight;
  }
}

function preflight({ preflight: found, session, policy: { first_action_distance_rad: distance, first_inference_ms: ms } = {} }) {
  $("preflight-panel").hidden = !found || !["STARTING", "WAITING", "READY"].includes(session?.state);
  if (!found) return;
  const items = found.items.map((check) => [check.detail ? `${check.name}: ${check.detail}` : check.name, ["good mark", "warn mark", "bad"][check.level] || ""]);
  if (session?.state === "READY" && Number.isFinite(distance)) items.push([`first action ${distance.toFixed(2)} rad from the pose, after ${ms.toFixed(0)} ms`, ""]);
  const shown = JSON.stringify(items);
  if ($("preflight").dataset.shown === shown) return;
  $("preflight").dataset.shown = shown;
  $("preflight").replaceChildren(...items.map(([name, mark]) => {
    const item = document.createElement("li");
    item.textContent = name;
    item.className = mark;
    return item;
  }));
}

function recorder(found, age, session) {
  if (!found) return fill("recorder", [["recorder", "not heard yet", "bad"]]);
  const minutes = found.seconds_left >= 0 ? `${Math.floor(found.seconds_left / 60)} min, ` : "";
  fill("recorder", [
    ["state", age > 2 ? `silent for ${age.toFixed(0)} s` : found.state + (found.phase ? `, ${found.phase}` : ""), age > 2 ? "bad" : ""],
    WITH_EPISODE.includes(session?.state) && ["frames", `policy ${found.policy_frames}, human ${found.human_frames}`],
    found.state === "saving" && ["saving", `${Math.round(found.save_progress * 100)} %`],
    ["disk left", `${minutes}${(found.bytes_free / GB).toFixed(0)} GB`],
    found.machine_is_slow && ["computer", "all cameras are late at once: this computer is too busy", "bad"],
    ...found.disk_remarks.map((remark) => ["disk", remark, "warn"]),
    found.last_error && ["last error", found.last_error, "bad"],
    session?.outcome && ["labelled", `${session.episode_id.split("/").at(-1)}: ${session.outcome}`],
    found.last_path && ["last saved", found.last_path.split("/").slice(-2).join("/").replace("training_session_", "")],
  ]);
  $("streams").tBodies[0].replaceChildren(...found.streams.map((stream) => {
    const row = document.createElement("tr");
    const mark = { fresh: "good", late: "warn" }[stream.verdict] || (stream.verdict ? "bad" : "");
    for (const [value, style] of [[stream.name.replaceAll("/", "/\u200b")], [stream.rate.toFixed(0)], [stream.age_s < 0 ? "never" : `${stream.age_s.toFixed(1)} s`], [stream.drops, stream.drops ? "bad" : ""], [stream.verdict, mark]]) {
      const cell = document.createElement("td");
      cell.textContent = value;
      cell.className = style || "";
      row.append(cell);
    }
    return row;
  }));
  return undefined;
}

function policy(found, training, age) {
  const rows = [];
  if (!found) rows.push(["policy", "policy_bridge not heard yet", "bad"]);
  else {
    const connected = found.connection === "connected" && age < 2;
    rows.push(["connection", age > 2 ? `policy_bridge silent for ${age.toFixed(0)} s` : `${found.connection} ${found.server}`, connected ? "" : "bad"]);
    if (found.reason) rows.push(["reason", found.reason, "warn"]);
    rows.push(["inference", `${found.latency_ms ?? "–"} ms, ${found.inferences} done, ${found.failures} failed`]);
    rows.push(["next actions", found.chunk_ready ? "ready" : "not ready"]);
    if (found.warm_up_reason) rows.push(["warm-up", found.warm_up_reason, "warn"]);
    if (found.checkpoint) rows.push(["checkpoint", found.checkpoint]);
  }
  if (training) {
    rows.push(["weights", training.ready ? `epoch ${training.epoch} serves` : "none serve"]);
    if (training.doing) rows.push(["server", training.doing]);
    if (training.reason) rows.push(["", training.reason]);
  }
  fill("policy", rows);
}

function robot({ arm, left_hand: left, right_hand: right }, ages) {
  const rows = [];
  if (!arm) rows.push(["arms", "arm_driver not heard yet", "bad"]);
  else {
    rows.push(["arms", [arm.mode.toLowerCase(), arm.fault ? "" : arm.reason].filter(Boolean).join(", "), arm.fault ? "bad" : ""]);
    if (arm.fault) rows.push(["fault", arm.fault, "bad"]);
    if (arm.meaning) rows.push(["what to do", arm.meaning, arm.fault ? "bad" : "warn"]);
    rows.push(["weight", `${Math.round(arm.weight * 100)} %`]);
    if (arm.clearance_m !== null) rows.push([arm.clearance_m < 0.03 ? "ARMS CLOSE" : "closest parts", `${arm.closest}: ${(arm.clearance_m * 100).toFixed(0)} cm`, arm.clearance_m < 0.03 ? "warn" : ""]);
    rows.push(["hottest motor", `${Math.max(...arm.temperature)} °C`]);
  }
  for (const [name, hand] of [["left", left], ["right", right]]) {
    if (!hand) continue;
    const age = ages[`${name}_hand`];
    const angles = hand.angles.map((value) => (value === null ? "–" : Math.round(value * 100))).join(" ");
    const state = age > 1 ? `silent for ${age.toFixed(0)} s` : `${hand.reason || "idle"}, ${Math.max(...hand.temperature)} °C`;
    rows.push([`${name} hand`, state, age > 1 || hand.error ? "bad" : ""], ["", `fingers ${angles} % open`]);
  }
  fill("robot", rows);
}

function upload(found) {
  const bar = $("upload-progress");
  bar.hidden = !found || !["running", "verifying"].includes(found.state);
  if (!found || found.state === "idle") return fill("upload", [["upload", found?.files_owed ? `${found.files_owed} owed` : "nothing to do"]]);
  bar.value = found.progress;
  return fill("upload", [
    ["state", found.state, found.state === "failed" ? "bad" : ""],
    found.file && ["file", found.file],
    found.state === "running" && ["speed", `${(found.bytes_per_second / 1e6).toFixed(1)} MB/s${found.seconds_left >= 0 ? `, ${found.seconds_left} s left` : ""}`],
    ["not verified yet", String(found.files_owed)],
    found.target && ["target", found.target],
    found.reason && ["reason", found.reason, "bad"],
  ]);
}

function events(found) {
  const shown = `${found.length} ${found.at(-1)?.stamp_s}`;
  if ($("events").dataset.shown === shown) return;
  $("events").dataset.shown = shown;
  $("events").replaceChildren(...found.toReversed().map((event) => {
    const item = document.createElement("li");
    const time = document.createElement("time");
    const when = new Date(event.stamp_s * 1000);
    time.dateTime = when.toISOString();
    time.textContent = when.toLocaleTimeString();
    const detail = document.createElement("span");
    detail.className = ["", "warn", "bad"][event.level] || "";
    detail.textContent = `${event.source}: ${event.text}`;
    item.append(time, detail);
    return item;
  }));
}
