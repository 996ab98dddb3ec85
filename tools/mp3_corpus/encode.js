// node encode.js lame.all.js RAW CHANNELS RATE_HZ KBPS: encodes 16-bit samples with lamejs and writes the mp3 to stdout.
const fs = require("fs");
const [, , library, raw, channels, rate, kbps] = process.argv;
const lamejs = new Function(fs.readFileSync(library, "utf8") + "; return lamejs;")();
const samples = new Int16Array(new Uint8Array(fs.readFileSync(raw)).buffer);
const sides = [...Array(+channels).keys()].map((side) => samples.filter((_, at) => at % channels == side));
const encoder = new lamejs.Mp3Encoder(+channels, +rate, +kbps);
for (let at = 0; at < sides[0].length; at += 1152)
  process.stdout.write(Buffer.from(encoder.encodeBuffer(...sides.map((side) => side.subarray(at, at + 1152)))));
process.stdout.write(Buffer.from(encoder.flush()));
