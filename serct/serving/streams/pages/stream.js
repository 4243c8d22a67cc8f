// A client of the service's routes in plain JavaScript: live speech by WebSocket, files by HTTP.
"use strict";

const PARTS_MS = 250; // of a recording that is sent in parts
const element = (id) => document.getElementById(id);
let stop = () => {};

function say(problem) {
  element("problem").hidden = !problem;
  element("problem").textContent = problem;
}

// A row of the table; a partial prediction is replaced by the next message of its utterance.
function show(start_s, end_s, what, { emotion, confidence }, id) {
  const row = (id && document.getElementById(id)) || element("found").insertRow(0);
  if (id) row.id = id;
  row.className = what.endsWith("partial") || what.endsWith("start") ? "partial" : "";
  const percent = confidence == null ? "" : `${Math.round(100 * confidence)} %`;
  const cells = [start_s?.toFixed(2) ?? "", end_s?.toFixed(2) ?? "", what, emotion ?? "", percent];
  row.replaceChildren(
    ...cells.map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text.replaceAll("_", " ");
      return cell;
    }),
  );
}

function showModel(model) {
  const corpora = Object.entries(model.corpora).map(
    ([name, each]) => `${name} (${each.language}, ${each.speakers} speakers)`,
  );
  const version = model.version ? `version ${model.version}` : "from a folder";
  const trained = corpora.join(", ") || `${model.corpus} (${model.language})`;
  const warning = model.synthetic ? " Synthetic speech: not valid for people." : "";
  element("model").textContent = `${model.name}, ${version}, trained on ${trained}.${warning}`;
}

// The microphone, or an explanation why there is none.
async function openMicrophone() {
  if (!navigator.mediaDevices) {
    throw new Error(
      "Browsers give a page the microphone only over HTTPS or on localhost, and this page came " +
        `from ${location.origin}. Put a proxy with TLS in front of the service, or open it on the ` +
        "machine where it runs. Files work here as well.",
    );
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  } catch (error) {
    throw new Error(`The browser gives no microphone: ${error.message}`);
  }
}

// Both ways to listen call `send` with binary messages; they return how to stop, which takes a
// moment: the last part comes afterwards.
async function listenToSamples(microphone, context, send) {
  await context.audioWorklet.addModule("worklet.js");
  const node = new AudioWorkletNode(context, "samples", { numberOfOutputs: 0 });
  node.port.onmessage = ({ data }) => send(data.buffer);
  context.createMediaStreamSource(microphone).connect(node);
  return async () => node.disconnect();
}

async function listenToRecorder(microphone, send, parts_ms) {
  const recorder = new MediaRecorder(microphone);
  let sending = Promise.resolve(); // in order, although a part takes time to read
  recorder.ondataavailable = ({ data }) => {
    sending = sending.then(async () => send(await data.arrayBuffer()));
  };
  const stopped = new Promise((resolve) => (recorder.onstop = resolve));
  recorder.start(parts_ms);
  return async () => {
    recorder.stop();
    await stopped;
    await sending;
    return recorder.mimeType;
  };
}

function converse(start, listen) {
  const address = new URL("../v1/stream", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  const send = (part) => socket.readyState === WebSocket.OPEN && socket.send(part);
  return new Promise((resolve, reject) => {
    socket.onopen = () => socket.send(JSON.stringify({ type: "session.start", version: 1, ...start }));
    socket.onclose = ({ code, reason }) =>
      code === 1000 ? resolve() : reject(new Error(reason || `The stream closed with ${code}.`));
    const begin = async (model) => {
      showModel(model);
      const end = await listen(send);
      ready(async () => {
        await end();
        send(JSON.stringify({ type: "end" }));
      });
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "session.started") {
        begin(message.model).catch((error) => {
          reject(error);
          socket.close();
        });
      } else if (message.type === "error") {
        reject(new Error(message.reason));
      } else if (message.type !== "session.end") {
        const id = message.utterance && `utterance-${message.utterance}`;
        show(message.start_s, message.end_s, message.type, message, id);
      }
    };
  });
}

async function predictFile(name, blob) {
  const body = new FormData();
  body.append("files", blob, name);
  const response = await fetch("../v1/predict", { method: "POST", body, headers: keyHeader() });
  const found = await response.json();
  if (!response.ok) {
    const { detail } = found;
    throw new Error(typeof detail === "string" ? detail : JSON.stringify(detail));
  }
  showModel(found.model);
  const [prediction] = found.predictions;
  show(0, prediction.duration_s, prediction.file, prediction);
}

const keyHeader = () => (element("key").value ? { "X-API-Key": element("key").value } : {});

function ready(stopNow) {
  stop = stopNow;
  element("stop").disabled = false;
}

// Run what a button is for: one at a time, and say what went wrong.
async function run(action) {
  say("");
  element("found").replaceChildren(); // nothing stays that looks like the result of what follows
  for (const button of document.querySelectorAll("button")) button.disabled = true;
  try {
    await action();
  } catch (error) {
    say(error.message);
  }
  for (const button of document.querySelectorAll("button")) button.disabled = button.id === "stop";
}

async function withMicrophone(action) {
  const microphone = await openMicrophone();
  const context = new AudioContext();
  try {
    await action(microphone, context);
  } finally {
    for (const track of microphone.getTracks()) track.stop();
    await context.close();
  }
}

element("live").onclick = () =>
  run(() =>
    withMicrophone(async (microphone, context) => {
      const encoding = element("encoding").value;
      const start = { encoding, mode: "utterances", adapt: element("adapt").checked };
      if (encoding === "pcm_f32le") start.sample_rate = context.sampleRate;
      if (element("key").value) start.api_key = element("key").value;
      await converse(start, (send) =>
        encoding === "file"
          ? listenToRecorder(microphone, send, PARTS_MS)
          : listenToSamples(microphone, context, send),
      );
    }),
  );

element("record").onclick = () =>
  run(() =>
    withMicrophone(async (microphone) => {
      const parts = [];
      const end = await listenToRecorder(microphone, (part) => parts.push(part));
      await new Promise((resolve) => ready(resolve));
      const type = await end();
      const name = `recording.${type.includes("webm") ? "webm" : type.includes("mp4") ? "m4a" : "ogg"}`;
      await predictFile(name, new Blob(parts, { type }));
    }),
  );

element("stop").onclick = () => {
  element("stop").disabled = true;
  stop();
};

element("send").onclick = () =>
  run(async () => {
    const [file] = element("file").files;
    if (!file) throw new Error("Choose a file first.");
    await predictFile(file.name, file);
  });

fetch("../ready")
  .then((response) => response.json())
  .then(({ model, problem }) => {
    if (model) showModel(model);
    else element("model").textContent = `There is no model yet: ${problem ?? "it is loading"}`;
  })
  .catch(() => say("The service does not respond."));
