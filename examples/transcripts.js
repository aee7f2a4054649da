// Every final transcript of every call, without any Python: npm ci --prefix examples && node examples/transcripts.js [URL]
import { decode } from "@msgpack/msgpack";
import { connect } from "nats";

const FINAL_TRANSCRIPTS = "va1.event.*.*.stt.transcript_final"; // agent and session are the stars: see docs/asyncapi.json

const servers = process.argv[2] ?? "nats://127.0.0.1:4222";
const bus = await connect({ servers, name: "transcripts.js", maxReconnectAttempts: -1 });
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => bus.drain()); // which ends the loop below

const heard = bus.subscribe(FINAL_TRANSCRIPTS);
await bus.flush();
console.error(`listening on ${bus.getServer()}`);

for await (const message of heard) {
  const { agent, session, time, text } = decode(message.data);
  if (text) console.log(`${new Date(time / 1000).toISOString()} ${agent} ${session} ${text}`);
}
