// SPDX-License-Identifier: Apache-2.0
// The page: one socket for what the session is, one for its cameras; what a person asks for goes back by the first.
import { Buttons } from "./buttons.js";
import { Cameras } from "./cameras.js";
import { Episodes } from "./episodes.js";
import { JointHistory, drawCurves } from "./joints.js";
import { showPanels } from "./panels.js";

const ALIVE_MS = 300;
const RETRY_MS = 1000;
const DRAW_MS = 380;
const SILENT_S = 2;
const ARMS = {
  RELEASED: "The robot's own controller has the arms",
  HOLD: "The arms hold still",
  HOME: "The arms move to the home position",
  POLICY: "The policy moves the arms",
  DAMPING: "The arms are compliant: a person may guide them",
};

const $ = (id) => document.getElementById(id);
let socket = null;
let live = null;
let lastSpoken = "";
let lastCountdown = 0;
let drawn = 0;

function send(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function ask(request) {
  send({ type: "ask", request });
}

const buttons = new Buttons($("buttons"), ask);
const cameras = new Cameras($("camera-grid"), $("full"));
const history = new JointHistory();
const episodes = new Episodes();

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "live") show(message);
    else if (message.type === "answer") answer(message);
  };
  socket.onclose = () => {
    live = null;
    $("controls").disabled = true;
    silent("This page has lost the session's computer. STOP does not reach it: use the robot's own stop");
    setTimeout(reconnect, RETRY_MS);
  };
}

// A new session has new tokens: then the page asks for one.
async function reconnect() {
  const response = await fetch("/").catch(() => null);
  if (response?.status === 401) location.reload();
  else connect();
}

function answer(message) {
  $("answer").textContent = message.message || (message.success ? "done" : "refused");
  $("answer").className = message.success ? "" : "refused";
}

function silent(why) {
  document.body.dataset.state = "SILENT";
  $("state").textContent = "NO CONNECTION";
  $("work").textContent = "";
  $("arms").textContent = why;
  $("countdown").hidden = true;
  for (const id of ["recording", "clock", "prompt", "reason", "answer"]) text(id, "");
  buttons.show([], false);
}

function show(message) {
  live = { ...live, ...message };
  const session = message.sections.session;
  if (!session || message.ages_s.session > SILENT_S) {
    silent(session ? `The session manager is silent for ${message.ages_s.session.toFixed(0)} s` : "No session heard yet");
  } else {
    banner(session, message.sections.arm, message.ages_s.arm);
    recording(session.state, message.sections.recorder, message.ages_s.recorder);
    countdown(session.countdown || message.sections.arm?.release_countdown || 0);
    text("prompt", session.prompt || "Nothing is asked now.");
    text("reason", session.doing || session.reason);
    training(message.sections.training, session.state);
    buttons.show(message.buttons, message.controls.is_driving, session.state);
  }
  controls(message.controls);
  cameras.have(live.cameras);
  cameras.judge(message.sections.recorder, message.ages_s.recorder);
  history.add(message.sections.arm);
  drawJoints();
  showPanels(live);
}

function banner(session, arm, armAge) {
  const elapsed = Math.max(0, Math.floor(session.stamp_s - session.since_s));
  document.body.dataset.state = session.state;
  text("state", session.state);
  const work = session.epoch >= 0 ? `Epoch ${session.epoch}, episode ${session.episode}` : "No epoch yet";
  text("work", `${work}${session.task ? ` · ${session.task}` : ""}`);
  text("clock", `${Math.floor(elapsed / 60)}:${String(elapsed % 60).padStart(2, "0")}`);
  let arms = arm ? ARMS[arm.mode] || arm.mode : "arm_driver is not heard";
  if (arm && armAge > 1) arms = `arm_driver is silent for ${armAge.toFixed(0)} s`;
  if (arm && arm.fault) arms += ` · fault: ${arm.fault}`;
  text("arms", arms);
  document.title = `${session.state} · H1-2`;
  if (session.state !== lastSpoken) {
    lastSpoken = session.state;
    text("answer", "");
    say(`${session.state.toLowerCase()}. ${session.prompt}`);
  }
}

// In the states that make rows: whether they are made, and how many there are.
function recording(state, recorder, age) {
  const makesRows = ["EXECUTING", "DAMPING"].includes(state);
  const isOn = makesRows && age < SILENT_S && recorder.state === "recording";
  $("recording").className = isOn ? "on" : "off";
  const frames = recorder ? `policy ${recorder.policy_frames}, human ${recorder.human_frames}` : "";
  text("recording", isOn ? frames : makesRows ? "NOT RECORDING" : "");
}

function training(found, state) {
  const bar = $("training-progress");
  bar.hidden = state !== "WAITING" || !found || found.progress === null;
  if (!bar.hidden) bar.value = found.progress;
}

function countdown(left) {
  const counts = left > 0;
  $("countdown").hidden = !counts;
  if (counts) {
    text("countdown", `ARMS MOVE IN ${left.toFixed(1)} s`);
    const second = Math.ceil(left);
    if (second !== lastCountdown && navigator.vibrate && navigator.userActivation?.hasBeenActive) navigator.vibrate(150);
    if (!lastCountdown) say("Stand clear. The arms move.");
    lastCountdown = second;
  } else lastCountdown = 0;
}

function controls(state) {
  const button = $("controls");
  button.disabled = !state.may_drive;
  button.setAttribute("aria-pressed", state.is_driving);
  button.textContent = state.is_driving ? "Release the controls" : "Take the controls";
  let who = state.driver ? `${state.driver} drives` : "No page drives";
  if (state.is_driving) who = "This page drives";
  text("driver", `${who} · ${state.pages} open${state.may_drive ? "" : " · this page only looks; STOP works"}`);
}

// Only what is on the screen, and at a quarter of the pace at which samples come: a tablet's battery lasts the evening.
function drawJoints() {
  if (performance.now() - drawn < DRAW_MS) return;
  drawn = performance.now();
  for (const [side, first] of [["left", 0], ["right", 7]]) {
    const canvas = $(`${side}-joints`);
    const { top, bottom, height } = canvas.getBoundingClientRect();
    if (!height || bottom < 0 || top > innerHeight) continue;
    drawCurves(canvas, history.seconds, history.of("q", first), history.of("q_command", first), { span: 20 });
  }
}

function text(id, value) {
  if ($(id).textContent !== value) $(id).textContent = value;
}

function say(sentence) {
  if (!$("read_aloud").checked || !("speechSynthesis" in window)) return;
  speechSynthesis.cancel();
  speechSynthesis.speak(new SpeechSynthesisUtterance(sentence));
}

$("stop").addEventListener("pointerdown", (event) => { event.preventDefault(); send({ type: "stop" }); });
$("stop").addEventListener("click", (event) => { if (event.detail === 0) send({ type: "stop" }); });
$("controls").addEventListener("click", () => send({ type: live?.controls.is_driving ? "release" : "take" }));
for (const tab of document.querySelectorAll(".tab")) {
  tab.addEventListener("click", () => {
    for (const other of document.querySelectorAll(".tab")) other.setAttribute("aria-pressed", other === tab);
    for (const view of document.querySelectorAll(".view")) view.hidden = view.id !== tab.dataset.view;
    if (tab.dataset.view === "episodes") episodes.refresh();
  });
}
const isTyping = (event) => event.target.closest?.("input, select, dialog, textarea") || event.ctrlKey || event.metaKey || event.altKey;
document.addEventListener("keydown", (event) => {
  if (isTyping(event) || event.repeat) return;
  const quits = live?.buttons.some((button) => button.key === "q"); // in WAITING, until the session is ending
  if (event.key.toLowerCase() === "q" && !quits) send({ type: "stop" });
  else if (!$("live").hidden) buttons.keyDown(event);
});
document.addEventListener("keyup", (event) => buttons.keyUp(event));
setInterval(() => { if (live?.controls.is_driving) send({ type: "alive" }); }, ALIVE_MS);
connect();
