# SPDX-License-Identifier: Apache-2.0
"""YAML that is read otherwise than it looks is refused, with its line."""

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from h1_training_node.strict_yaml import StrictYamlError, load


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "'a' is given twice, in lines 1 and 3; keep one"),
        ("a: {x: 1}\nb: 2\na: {y: 3}", "'a' is given twice, in lines 1 and 3; keep one"),
        ("a:\n  b:\n    c: 1\n    'c': 1", "'a.b.c' is given twice, in lines 3 and 4; keep one"),
        ("- {a: 1, a: 2}", "'a' is given twice, in lines 1 and 1; keep one"),
        ("a: 010", "line 1: YAML reads 010 as 8 (octal); write 10"),
        ("a: -010", "line 1: YAML reads -010 as -8 (octal); write -10"),
        ("a: 08", "line 1: YAML reads 08 as the text '08'; write 8"),
        ("a:\n- 1e3", "line 2: YAML reads 1e3 as the text '1e3'; write 1000.0"),
        ("a: -.5", "line 1: YAML reads -.5 as the text '-.5'; write -0.5"),
        ("a: 1:30", "line 1: YAML reads 1:30 as 90 (base 60); write that, or quote it"),
        ("a: &x\n  b: *x", "line 1: 'a.b' contains itself"),
        ("? [a]\n: 1", "line 1: a key is a name"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: [", "is not YAML"),
        ("[" * 5000, "is nested too deeply"),
    ],
)
def test_what_is_ambiguous_or_lost_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(StrictYamlError) as error:
        load(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text",
    ["", "a: 10", "a: 0x10", "a: 1_000", "a: 0.5", "a: .5", "a: 1.0e+3", "a: '010'", "a: [yes, no, ~, text]", "a: 0"],
)
def test_everything_else_is_read_as_pyyaml_reads_it(text: str) -> None:
    assert load(text) == yaml.safe_load(text)


def test_what_a_mapping_merges_may_be_overridden() -> None:
    assert load("base: &b {a: 1, b: 2}\nmine: {<<: *b, b: 3}")["mine"] == {"a": 1, "b": 3}


def test_aliases_that_multiply_are_checked_in_no_time() -> None:
    lines = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 6)]
    assert load("\n".join(lines))["a0"] == [1]


@example(9_007_199_254_740_993)  # which no float is
@given(st.recursive(st.booleans() | st.integers() | st.floats(allow_nan=False), lambda s: st.lists(s, max_size=3)))
def test_what_pyyaml_writes_is_read_again(value: object) -> None:
    assert load(yaml.safe_dump({"a": value})) == {"a": value}


@given(st.text(max_size=100))
def test_any_text_is_read_as_pyyaml_reads_it_or_refused(text: str) -> None:
    try:
        found = load(text)
    except StrictYamlError:
        return
    assert found == yaml.safe_load(text) or found != found
