"""Records out of files: every format, every way in which a file can be broken, and the promise that nothing is read ahead."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from moderator.content import Content
from moderator.errors import DataError
from moderator.records import open_source

Read = Callable[..., list[Content]]
Write = Callable[[str, bytes | str], Path]

CSV = 'id,text,surface\n1,"first\nline, ""quoted""",post\n2,second,\n'
ROWS: list[dict[str, object]] = [
    {"id": "1", "text": 'first\nline, "quoted"', "surface": "post"},
    {"id": "2", "text": "second", "surface": None},
]
CONTENTS = [Content(id="1", text='first\nline, "quoted"', facts={"surface": "post"}), Content(id="2", text="second")]


def parquet(rows: list[dict[str, object]], schema: pyarrow.Schema | None = None) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), buffer)
    return buffer.getvalue()


def jsonl(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def refused(*names: object) -> str:
    """The message of the `DataError` that opening or reading ends with."""
    with pytest.raises(DataError) as caught:
        list(open_source([str(name) for name in names]))
    return str(caught.value)


FILES = {
    "posts.jsonl": jsonl(ROWS),
    "posts.ndjson": jsonl(ROWS),
    "posts.csv": CSV.encode(),
    "posts.CSV": CSV.encode(),
    "posts.tsv": CSV.replace(", ", "; ").replace(",", "\t").replace("; ", ", ").encode(),
    "posts.parquet": parquet(ROWS),
}


class TestFormats:
    @pytest.mark.parametrize("name", FILES)
    def test_all_formats_give_the_same_contents(self, write: Write, read: Read, name: str) -> None:
        assert read(write(name, FILES[name])) == CONTENTS

    @pytest.mark.parametrize("name", [name for name in FILES if name != "posts.parquet"])
    def test_gzipped(self, write: Write, read: Read, name: str) -> None:
        assert read(write(f"{name}.gz", gzip.compress(FILES[name]))) == CONTENTS

    @pytest.mark.parametrize("name", ["posts.jsonl", "posts.csv", "posts.tsv"])
    def test_a_byte_order_mark_is_no_part_of_the_text(self, write: Write, read: Read, name: str) -> None:
        assert read(write(name, b"\xef\xbb\xbf" + FILES[name])) == CONTENTS
        assert [content.text for content in read(write("a.txt", b"\xef\xbb\xbfhi\n"))] == ["hi"]

    @pytest.mark.parametrize("name", ["posts.jsonl", "posts.csv"])
    def test_windows_line_ends(self, write: Write, read: Read, name: str) -> None:
        contents = read(write(name, FILES[name].replace(b"\n", b"\r\n")))
        assert [content.text.replace("\r", "") for content in contents] == [content.text for content in CONTENTS]

    def test_a_text_file_has_a_content_a_line(self, write: Write, read: Read) -> None:
        """Empty lines are none; only line feeds end one, and the spaces of a line are its own."""
        path = write("a.txt", "one\r\n\n  two \n \t\nthree\u2028still three\x0c\x85")
        assert [content.text for content in read(path)] == ["one", "  two ", "three\u2028still three\x0c\x85"]

    def test_empty_lines_between_records(self, write: Write, read: Read) -> None:
        assert [c.text for c in read(write("a.jsonl", '\n{"text": "a"}\n   \n\n{"text": "b"}'))] == ["a", "b"]
        assert [c.text for c in read(write("a.csv", "\ntext\n\na\n\n\nb"))] == ["a", "b"]

    @pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.txt", "a.jsonl.gz"])
    def test_an_empty_file_holds_no_contents(self, write: Write, read: Read, name: str) -> None:
        assert read(write(name, gzip.compress(b"") if name.endswith(".gz") else b"")) == []

    def test_tables_without_rows(self, write: Write, read: Read) -> None:
        assert read(write("a.csv", "id,text\n")) == []
        assert read(write("a.parquet", parquet([], pyarrow.schema([("text", pyarrow.string())])))) == []

    def test_long_fields(self, write: Write, read: Read) -> None:
        """The csv module refuses fields of more than 131,072 characters unless it is told otherwise."""
        long = "long text " * 100_000
        assert read(write("a.csv", f"id,text\n1,{long}\n"))[0].text == long
        assert read(write("a.txt", long))[0].text == long


class TestParquet:
    def test_nested_columns(self, write: Write, read: Read) -> None:
        row: dict[str, object] = {
            "text": "a",
            "thread": [{"text": "b", "author": "c"}],
            "facts": {"x": "y"},
            "policies": ["spam"],
        }
        content = read(write("a.parquet", parquet([row])))[0]
        assert (content.thread[0].author, content.facts, content.policies) == ("c", {"x": "y"}, ("spam",))

    def test_ids_of_whole_numbers(self, write: Write, read: Read) -> None:
        assert read(write("a.parquet", parquet([{"id": 7, "text": "a"}])))[0].id == "7"

    def test_bytes_are_not_text(self, write: Write) -> None:
        assert "a.parquet:1: field 'text' is bytes, not text" in refused(write("a.parquet", parquet([{"text": b"abc"}])))

    def test_a_missing_column_names_all_there_are(self, write: Write) -> None:
        assert "a.parquet:1: no field 'text'; fields are id, body" in refused(
            write("a.parquet", parquet([{"id": "1", "body": "x"}]))
        )

    def test_kept_columns_can_be_written_as_json(self, write: Write, read: Read) -> None:
        path = write(
            "a.parquet",
            parquet([{"text": "a", "blob": b"\xff\x00", "when": pyarrow.scalar(0, pyarrow.timestamp("s")).as_py()}]),
        )
        assert read(path, keep=["blob", "when"])[0].metadata == {"blob": "_wA=", "when": "1970-01-01T00:00:00"}

    def test_columns_that_are_not_wanted_are_not_read(self, write: Write, read: Read) -> None:
        """An embedding beside each text costs nothing; here one that Python cannot even represent."""
        table = pyarrow.table({"text": ["a"], "when": pyarrow.array([1], pyarrow.timestamp("ns"))})
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(table, buffer)
        assert read(write("a.parquet", buffer.getvalue()))[0].text == "a"

    @pytest.mark.parametrize("content", [b"", b"hello", b"PAR1" + b"\x00" * 50, FILES["posts.parquet"][:-20]])
    def test_broken(self, write: Write, content: bytes) -> None:
        assert "a.parquet: not a Parquet file: " in refused(write("a.parquet", content))


class TestFolders:
    def test_files_in_order_of_their_names_at_any_depth(self, write: Write, read: Read, tmp_path: Path) -> None:
        for name in ("b.txt", "a/z.txt.gz", "a/b/c.jsonl"):
            text = f'{{"text": "{name}"}}' if name.endswith("jsonl") else name
            write(name, gzip.compress(text.encode()) if name.endswith(".gz") else text)
        write("notes.md", "not this")
        assert [content.text for content in read(tmp_path)] == ["a/b/c.jsonl", "a/z.txt.gz", "b.txt"]

    def test_hidden_files_are_left_out(self, write: Write, read: Read, tmp_path: Path) -> None:
        for name in (".b.txt", ".cache/c.txt", "a.txt"):
            write(name, name)
        assert [content.text for content in read(tmp_path)] == ["a.txt"]

    def test_a_folder_named_like_a_file_is_a_folder(self, write: Write, read: Read, tmp_path: Path) -> None:
        write("posts.jsonl/a.txt", "hi")
        assert [content.text for content in read(tmp_path / "posts.jsonl")] == ["hi"]
        assert [content.text for content in read(tmp_path)] == ["hi"]

    def test_an_empty_one_is_an_error(self, write: Write, tmp_path: Path) -> None:
        write("notes.md", "not this")
        assert f"{tmp_path}: no contents in this folder\n  looked for .jsonl, " in refused(tmp_path)

    def test_what_the_run_writes_is_not_read(self, write: Write, read: Read, tmp_path: Path) -> None:
        """Else the outcomes of the first part of a run would be the contents of its second."""
        write("a.txt", "hi")
        out = write("out.jsonl", "{}")
        assert [content.text for content in read(tmp_path, written=[out])] == ["hi"]
        with pytest.raises(DataError, match=r"out.jsonl: is to be read and to be written"):
            open_source([str(tmp_path / "." / "out.jsonl")], written=[out])


class TestNotReadable:
    def test_missing(self, tmp_path: Path) -> None:
        assert f"{tmp_path}/no.jsonl: no such file or folder" in refused(tmp_path / "no.jsonl")

    @pytest.mark.parametrize("name", ["a.json", "a", "a.gz", "a.xlsx"])
    def test_unknown_suffix(self, write: Write, name: str) -> None:
        assert f"{name}: not a kind of file that holds contents\n  one of .jsonl, " in refused(write(name, "{}"))

    def test_a_text_where_a_file_is_expected(self) -> None:
        """Too long to be a name; the system's own words are shown, not its traceback."""
        assert refused("this is spam " * 400).endswith(": File name too long")

    @pytest.mark.usefixtures("unprivileged")
    def test_permission_denied(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        euid = os.geteuid()
        if euid == 65534:
            os.seteuid(0)
        folder = tmp_path_factory.mktemp("closed")
        (folder / "a.jsonl").write_text('{"text": "a"}')
        (folder / "a.parquet").write_bytes(FILES["posts.parquet"])
        folder.chmod(0o000)
        os.seteuid(euid)
        for name in ("a.jsonl", "a.parquet"):
            assert refused(folder / name) == f"{folder / name}: Permission denied"

    def test_permission_lost_after_opening(self, write: Write, request: pytest.FixtureRequest) -> None:
        path = write("a.jsonl", '{"text": "a"}')
        source = open_source([str(path)])
        path.chmod(0o000)
        request.getfixturevalue("unprivileged")
        with pytest.raises(DataError, match="Permission denied"):
            list(source)

    def test_gone_after_opening(self, write: Write) -> None:
        path = write("a.jsonl", '{"text": "a"}')
        source = open_source([str(path)])
        path.unlink()
        with pytest.raises(DataError, match=r"a.jsonl: No such file or directory"):
            list(source)


class TestBroken:
    @pytest.mark.parametrize(
        ("name", "content", "what"),
        [
            ("a.jsonl", b'{"text": "a"}\n{"text": \n', ":2: not JSON: "),
            ("a.jsonl", b'{"text": "a"}\n[1]\n', ":2: an object was expected, not list"),
            ("a.jsonl", b'{"text": "a"} {"text": "b"}\n', ":1: not JSON: Extra data"),
            ("a.jsonl", b"[" * 200_000, ":1: not JSON: nested too deeply"),
            ("a.jsonl", b'{"text": "a"}\n{"text": "\xe9t\xe9"}\n', ":2: not UTF-8 at byte 11 of the line"),
            ("a.txt", b"ok\n\xff\xfeh\x00i\x00\n", ":2: not UTF-8 at byte 1 of the line\n  convert the file to UTF-8"),
            ("a.csv", b"text\n\xe9t\xe9\n", ":2: not UTF-8"),
            ("a.csv", b'id,text\n1,a\n2,"never\nclosed\n', ":3: not CSV: "),
            ("a.csv", b'id,text\n1,a\n2,"b"c\n', ":3: not CSV: "),
            ("a.csv", b'id,text\n1,"a\nb"\n2,b,c\n', ":4: 3 fields where the header has 2"),
            ("a.csv", b"id,text\n1,a\n2\n", ":3: 1 fields where the header has 2"),
            ("a.csv", b"text,id,text\n1,a,b\n", ":1: two columns are named 'text'"),
            ("a.csv", b"id;text\n1;a\n", ":2: no field 'text'; fields are id;text"),
        ],
    )
    def test_says_where(self, write: Write, name: str, content: bytes, what: str) -> None:
        path = write(name, content)
        assert f"{path}{what}" in refused(path)

    @pytest.mark.parametrize("end", [5, 15, -9, -1])
    def test_gzip_cut_short(self, write: Write, end: int) -> None:
        path = write("a.jsonl.gz", gzip.compress(jsonl([{"id": i, "text": "some text"} for i in range(50)]))[:end])
        assert f"{path}: not a whole gzip file: " in refused(path)

    @pytest.mark.parametrize("at", [12, 40, -6])
    def test_gzip_damaged(self, write: Write, at: int) -> None:
        """In its compressed part, or in its checksum."""
        whole = bytearray(gzip.compress(jsonl([{"id": i, "text": f"text {i**7}"} for i in range(50)])))
        whole[at] ^= 0xFF
        assert "a.jsonl.gz" in refused(write("a.jsonl.gz", bytes(whole)))

    def test_not_gzip_at_all(self, write: Write) -> None:
        assert "a.jsonl.gz: not a whole gzip file: " in refused(write("a.jsonl.gz", b'{"text": "a"}\n'))


class TestLazy:
    def test_records_before_a_broken_one_are_read(self, write: Write) -> None:
        contents = iter(open_source([str(write("a.jsonl", '{"text": "a"}\nbroken'))]))
        assert next(contents).text == "a"
        with pytest.raises(DataError):
            next(contents)

    def test_a_later_file_is_opened_when_its_turn_comes(self, write: Write) -> None:
        one, two = write("1.txt", "a"), write("2.txt", "b")
        contents = iter(open_source([str(one), str(two)]))
        assert next(contents).text == "a"
        two.write_text("changed")
        assert next(contents).text == "changed"

    @pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.jsonl.gz", "a.parquet"])
    def test_progress_counts_bytes_on_disk(self, write: Write, name: str) -> None:
        rows: list[dict[str, object]] = [{"id": str(i), "text": os.urandom(500).hex()} for i in range(1000)]
        table = "id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in rows)
        content = {".csv": table.encode(), ".gz": gzip.compress(jsonl(rows)), ".parquet": parquet(rows)}.get(
            Path(name).suffix, jsonl(rows)
        )
        path, other = write(name, content), write("z.txt", "end")
        source = open_source([str(path), str(other)])
        seen = [source.progress.done()]
        for _ in source:
            seen.append(source.progress.done())
        assert seen == sorted(seen)
        assert 0.4 < seen[500] / source.progress.total < 0.6 if source.progress.total else False
        assert source.progress.done() == source.progress.total == len(content) + 3
        assert len(list(source)) == 1001, "a source can be read again"
        assert source.progress.done() == source.progress.total


STDIN = "from moderator.records import open_source\nfor c in open_source(['-']): print(c.id, ascii(c.text), flush=True)"


def piped(data: bytes) -> list[str]:
    """What a process reads from its stdin, a line each."""
    done = subprocess.run([sys.executable, "-c", STDIN], input=data, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode().splitlines()


class TestStdin:
    def test_json_lines(self) -> None:
        assert piped(b'\xef\xbb\xbf\n  {"id": 1, "text": "a"}\n\n{"id": 2, "text": "b"}') == ["1 'a'", "2 'b'"]

    def test_plain_lines(self) -> None:
        assert [line.split(" ", 1)[1] for line in piped("grüße\n\n[1] two\r\n".encode())] == [r"'gr\xfc\xdfe'", "'[1] two'"]

    def test_nothing(self) -> None:
        assert piped(b"") == []
        assert piped(b"\n\n") == []

    def test_broken(self) -> None:
        assert piped(b'{"text": "a"}\n{"text"')[-1] == (
            "moderator.errors.DataError: stdin:2: not JSON: Expecting ':' delimiter: line 1 column 8 (char 7)"
        )

    def test_its_end_is_not_known(self) -> None:
        assert open_source(["-"]).progress.total is None

    def test_can_be_read_once(self) -> None:
        assert refused("-", "-") == "-: stdin can be read once only"

    def test_a_line_is_read_as_soon_as_it_is_there(self) -> None:
        """A slow producer's contents are judged while it goes on."""
        with subprocess.Popen([sys.executable, "-c", STDIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin
            assert process.stdout
            for text in (b"first", b"second"):
                process.stdin.write(text + b"\n")
                process.stdin.flush()
                assert text in process.stdout.readline()
            process.stdin.close()
