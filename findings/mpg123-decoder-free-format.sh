#!/usr/bin/env bash
# mpg123-decoder: of a free-format mp3 it returns a second of noise at a wrong sampling frequency, and reports no error.
#
# Versions: mpg123-decoder 1.0.3 (npm), mpg123 1.31.2 and LAME 3.100 (Debian 12), node 20. Seen on 2026-11-30.
#
# mpg123-decoder is the library mpg123 in WebAssembly, for browsers and Node.js; audio-decode and others use it. In a free-format
# mp3 (LAME: `--freeformat`), headers do not name the bitrate, and a frame's length is the distance to the next header. The
# program mpg123 plays these files completely. mpg123-decoder, given the whole file, returns a fraction of the samples, at another
# sampling frequency than that of the file, with an empty list of errors. It decodes the same sound in constant bitrate correctly.
#
# Why this matters for an archive of recordings: a page that plays recordings in the browser shows a wrong length and plays
# noise for files that the command line plays, and nothing says that they were not understood.
#
# Exit status: 0 the behaviour is as described, 1 it has changed, 2 the test could not run.
set -euo pipefail

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

for program in lame mpg123 node npm; do
    command -v "$program" >/dev/null || {
        echo "$program is not installed" >&2
        exit 2
    }
done
cd "$tmp"
if ! npm install --silent --no-audit --no-fund --ignore-scripts mpg123-decoder@1.0.3 >/dev/null; then
    echo "could not install the package" >&2
    exit 2
fi
cat >play.mjs <<'JS'
import fs from "node:fs";
import { MPEGDecoder } from "mpg123-decoder";

const decoder = new MPEGDecoder();
await decoder.ready;
const { samplesDecoded, sampleRate, errors } = decoder.decode(fs.readFileSync(process.argv[2]));
console.log(samplesDecoded, sampleRate, errors.length);
decoder.free();
JS
# Six seconds of a tone with noise in telephone quality: 8 kHz, mono, 16 bit.
node -e '
const samples = new Int16Array(6 * 8000);
let seed = 1;
for (let at = 0; at < samples.length; at++) {
    seed = (seed * 48271) % 2147483647;
    samples[at] = 9000 * Math.sin(at * 0.3) + (seed % 4000) - 2000;
}
require("fs").writeFileSync("sound.raw", Buffer.from(samples.buffer));'
encode() { lame --quiet -r -s 8 --bitwidth 16 --signed --little-endian -m m "$@" 2>/dev/null; }
encode -b 24 -t sound.raw constant.mp3
encode -b 20 -t --freeformat sound.raw free.mp3

echo "mpg123-decoder $(node -p 'require("./node_modules/mpg123-decoder/package.json").version'), $(mpg123 --version)," \
    "$(lame --version | head -n 1), node $(node --version)"
same=true
for file in constant free; do
    bytes=$(mpg123 -q -s "$file.mp3" | wc -c)
    read -r samples rate errors < <(node play.mjs "$file.mp3" 2>/dev/null | tail -n 1)
    printf '%-8s mpg123 plays %d samples; mpg123-decoder returns %d at %d Hz, %d errors\n' \
        "$file" "$((bytes / 2))" "$samples" "$rate" "$errors"
    [ "$((bytes / 2))" -ge 48000 ] && [ "$errors" = 0 ] || same=false
    if [ "$file" = constant ]; then
        [ "$samples" = "$((bytes / 2))" ] && [ "$rate" = 8000 ] || same=false
    else
        [ "$samples" -lt "$((bytes / 4))" ] && [ "$rate" != 8000 ] || same=false
    fi
done
if ! "$same"; then
    printf '\nCHANGED: the behaviour is not as described at the top of this script.\n'
    exit 1
fi
printf '\nAs described: mpg123-decoder returns noise for the free-format file, and no error.\n'
