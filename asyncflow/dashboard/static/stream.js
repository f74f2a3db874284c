// Server-sent events, read by fetch: an EventSource cannot send the token in a header, and in a link it would be in every log.

const SILENCE = 40000;
const SLOWEST = 8000;

export class Stream {
  constructor(token, { onMessage, onState }) {
    this.token = token;
    this.onMessage = onMessage;
    this.onState = onState;
    this.lastId = "";
    this.failures = 0;
    this.isOver = false;
    this.timer = 0;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.hurry());
  }

  start() {
    this.read().then(
      (answer) => this.again(answer),
      () => this.again("gone"),
    );
  }

  hurry() {
    if (this.timer) {
      clearTimeout(this.timer);
      this.timer = 0;
      this.start();
    }
  }

  again(why) {
    if (why === "over" || why === "refused" || why === "strange") {
      this.onState(why);
      return;
    }
    this.onState("lost");
    const pause = Math.min(SLOWEST, 400 * 2 ** this.failures) * (0.75 + Math.random() / 2);
    this.failures += 1;
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.start();
    }, pause);
  }

  async read() {
    const abort = new AbortController();
    let watchdog = setTimeout(() => abort.abort(), SILENCE);
    const headers = { Accept: "text/event-stream" };
    if (this.token) headers.Authorization = `Bearer ${this.token}`;
    if (this.lastId) headers["Last-Event-ID"] = this.lastId;
    try {
      const response = await fetch("events", { headers, cache: "no-store", signal: abort.signal });
      if (response.status === 401) return "refused";
      if (response.status === 403) return "strange";
      if (!response.ok || !response.body) return "gone";
      this.failures = 0;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return "gone";
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), SILENCE);
        text += value;
        let start = 0;
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n", start)) {
          if (this.take(text.slice(start, end)) === "over") return "over";
          start = end + 2;
        }
        text = text.slice(start);
      }
    } finally {
      clearTimeout(watchdog);
      abort.abort();
    }
  }

  take(block) {
    let name = "";
    let data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) name = line.slice(7);
      else if (line.startsWith("data: ")) data = line.slice(6);
      else if (line.startsWith("id: ")) this.lastId = line.slice(4);
    }
    if (name) this.onMessage(name, JSON.parse(data));
    return name;
  }
}
