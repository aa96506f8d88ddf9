"""HTML as plain text: what a reader sees, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knell.templates.html_text import as_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("<h1>Title</h1>text", "Title\n\ntext"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<div>one</div><div>two</div>", "one\ntwo"),
        ("<ul><li>a</li><li>b</li></ul>after", "- a\n- b\n\nafter"),
        ("<table><tr><td>Job</td><td>nightly</td></tr><tr><td>x</td></tr></table>", "Job nightly\nx"),
        ("a &amp; b &lt;c&gt; &#9989;", "a & b <c> ✅"),
        ("many \n\t blanks&nbsp; here", "many blanks here"),
        ("<b>no</b> gap<i>s</i>", "no gaps"),
        ("<pre>  a\n    b</pre>end", "a\n    b\n\nend"),
        ('<a href="https://x.y/?a=1&amp;b=2">log</a>', "log: https://x.y/?a=1&b=2"),
        ("<a href='https://x.y'>https://x.y</a>", "https://x.y"),
        ('<a href="mailto:a@b.c">write</a>', "write: a@b.c"),
        ('<a href="#top">up</a> <a>none</a>', "up none"),
        ('<a href="https://x.y"><img src="cid:1" alt="chart"></a>', "chart: https://x.y"),
        ('<a href="https://x.y"><img src="cid:1"></a>', "https://x.y"),
        ("<head><title>t</title><style>p{}</style></head><p>x</p>", "x"),
        ("<script>if (a < b) {}</script>x", "x"),
        ("<div style='display:none'>pre<div>header</div></div>x", "x"),
        ('<span style="Display: NONE">a</span>b', "b"),
        ("a<!-- <p>no</p> -->b<!--[if mso]>c<![endif]-->", "ab"),
        ("<!DOCTYPE html><html><body>x</body></html>", "x"),
        ("a < b", "a < b"),
        ("a<p", "a"),
        ("</a></p></pre>x", "x"),
        ("<p>a</p>\n\n\n<hr>\n<p>b</p>", "a\n\nb"),
    ],
)
def test_what_html_reads_like(html: str, text: str) -> None:
    """Paragraphs, lists, tables and links, as a person would write them down."""
    assert as_text(html) == text


@given(st.text(st.sampled_from("<>/ab \n\"'=-!&;") | st.characters(), max_size=400))
def test_any_text_is_read(html: str) -> None:
    """Whatever it is, it ends, without blank ends or more than one empty line."""
    text = as_text(html)
    assert text == text.strip()
