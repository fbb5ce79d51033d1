"""``mlxk run --image`` and ``--audio`` beside mlx-vlm's and mlx-audio's own commands on the same model and file."""

from __future__ import annotations

from collections.abc import Iterator

from figures import Row, at_most
from measuring import cpu_of, paired, wall_of
from session import Session

from qualification.mint.pictures import Picture, encoded
from qualification.mint.tones import speak, wav

SEEING, HEARING = "mint/qwen2-vl-tiny", "mint/whisper-tiny"
DESCRIBE = "Describe the image."


def measure(session: Session) -> Iterator[Row]:
    environment = session.minted(SEEING, HEARING)
    picture, sound = session.scratch / "red.png", session.scratch / "apples.wav"
    picture.write_bytes(encoded(Picture("red", "circle")))
    sound.write_bytes(wav(speak("Nine red apples.")))
    looking = [session.peer("mlx-vlm") / "mlx_vlm.generate", "--model", SEEING, "--image", picture]
    listening = [session.peer("mlx-audio") / "mlx_audio.stt.generate", "--model", HEARING, "--audio", sound]
    commands = (
        (
            "--image",
            [session.tool, "run", SEEING, DESCRIBE, "--image", picture, "--temperature", "0"],
            "mlx_vlm.generate",
            [*looking, "--prompt", DESCRIBE, "--temperature", "0", "--max-tokens", "100"],
        ),
        (
            "--audio",
            [session.tool, "run", HEARING, "--audio", sound],
            "mlx_audio.stt.generate",
            [*listening, "--output-path", session.scratch / "transcript"],
        ),
    )
    for option, ours, reference, theirs in commands:
        for clock, said in ((wall_of, ""), (cpu_of, " (CPU)")):
            mine, other = paired(
                session.rounds,
                lambda clock=clock, ours=ours: clock(ours, **environment),
                lambda clock=clock, theirs=theirs: clock(theirs, **environment),
            )
            yield Row(f"mlxk run {option}, a tiny model{said}", "s", mine, reference, other, at_most(1.05))
