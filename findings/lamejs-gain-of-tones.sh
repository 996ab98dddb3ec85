#!/usr/bin/env bash
# lamejs: in its mp3s a dial tone has a lower "global gain" than noise that is 45 dB quieter.
#
# Versions: lamejs 1.2.1 (npm). Seen on 2026-11-30.
#
# The side information of every granule of an mp3 has a global gain, in steps of 1.5 dB, by which tools change or estimate the
# volume of a file without decoding it. One expects louder audio to have a higher gain. lamejs 1.2.1 gives bits that it can
# spare to precision: it codes a tone of 425 Hz and -27 dBFS with a small step and large values, and the noise of an idle A-law
# line (the codes 0xD5 and 0x55 in random order, -72 dBFS), whose energy is spread over the band, with a large step and small
# values. A constant (0xD5 only) has the lowest gain of all.
#
# Why this matters for an archive of recordings: a search for dead lines by the gain alone takes a tone for silence and an idle
# line for audio. Together with the Huffman tables, which bound the values, the gain does follow the level.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

cd "$tmp"
if ! npm install --silent --no-audit --no-fund lamejs@1.2.1 >&2; then
    echo "could not install the package" >&2
    exit 2
fi

cat >gains.js <<'JAVASCRIPT'
const fs = require("fs");
// The bundle: the module build of 1.2.1 misses a declaration.
const lamejs = new Function(fs.readFileSync("node_modules/lamejs/lame.all.js", "utf8") + "; return lamejs;")();
console.log("lamejs", require("lamejs/package.json").version, "\n");
const RATE = 16000, LENGTH = 4 * RATE;

function encode(samples) {
    const encoder = new lamejs.Mp3Encoder(1, RATE, 32);
    return Buffer.concat([Buffer.from(encoder.encodeBuffer(samples)), Buffer.from(encoder.flush())]);
}

// MPEG 2 at a constant 32 kbit/s and 16 kHz: frames of 144 bytes; global_gain is bits 30 to 37 of the side information.
function medianGain(mp3) {
    const gains = [];
    for (let at = 0; at + 144 <= mp3.length; at += 144) {
        if (mp3.readUInt16BE(at) >> 1 !== 0xfff3 >> 1) throw new Error(`no frame at ${at}`);
        gains.push(mp3.readUInt16BE(at + 4 + 3) >> 2 & 0xff);
    }
    return gains.sort((a, b) => a - b)[gains.length >> 1];
}

let state = 1;
const coin = () => (state = (state * 1103515245 + 12345) % 2147483648) > 1073741823;
const signals = {
    "dial tone, 425 Hz": Int16Array.from({ length: LENGTH }, (_, n) => Math.round(2000 * Math.sin((2 * Math.PI * 425 * n) / RATE))),
    "idle A-law line, 0xD5 and 0x55": Int16Array.from({ length: LENGTH }, () => (coin() ? 8 : -8)),
    "idle A-law line, 0xD5": new Int16Array(LENGTH).fill(8),
};
const gains = Object.entries(signals).map(([name, samples]) => {
    const power = samples.reduce((sum, sample) => sum + (sample / 32768) ** 2, 0) / LENGTH;
    const gain = medianGain(encode(samples));
    console.log(`${name.padEnd(32)} ${(10 * Math.log10(power)).toFixed(0).padStart(4)} dBFS   global gain ${gain}`);
    return gain;
});
const asDescribed = gains[0] < gains[1] && gains[2] < gains[0];
console.log(asDescribed ? "\nThe tone has a lower gain than the noise." : "\nThe behaviour has changed.");
process.exit(asDescribed ? 0 : 1);
JAVASCRIPT
node gains.js
