// Passes on the first channel of the microphone, in blocks of about 20 ms.
class Samples extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(1024);
    this.length = 0;
  }

  process([channels]) {
    for (const sample of channels[0] ?? []) {
      this.block[this.length++] = sample;
      if (this.length === this.block.length) {
        this.port.postMessage(this.block.slice());
        this.length = 0;
      }
    }
    return true;
  }
}

registerProcessor("samples", Samples);
