"""Memory stores that an agents file names."""

from pathlib import Path

import pytest

from outlast.agents.loader import load
from outlast.model.error import Misconfigured
from outlast.model.memory import NamedStore, NewStore
from outlast.model.spec_json import spec_digest, spec_from_dict, spec_to_dict


def test_memory_stores_of_a_file_reach_the_spec_and_change_no_other_digest(tmp_path: Path) -> None:
    file = tmp_path / "agents.yaml"
    plain = "agents:\n  - {name: a, model: 'scripted:s', memoryStores: []}\n"
    file.write_text(plain)
    before = spec_digest(load(str(file)).specs[0])
    file.write_text(plain.replace(", memoryStores: []", ""))
    assert spec_digest(load(str(file)).specs[0]) == before
    named = "[customers, {name: laws, access: read_only}]"
    stores = "memoryStores: [{name: customers, description: What they like}]\n"
    file.write_text(stores + plain.replace("[]", named))
    loaded = load(str(file))
    (spec,) = loaded.specs
    assert spec.memory_stores == (NamedStore("customers"), NamedStore("laws", "read_only"))
    assert loaded.memory_stores == {"customers": NewStore("What they like")}
    assert spec_from_dict(spec_to_dict(spec)) == spec
    assert spec_digest(spec) != before
    for wrong in ("[a, a]", "['']", "[{name: a, access: write}]", "customers", "[1]"):
        file.write_text(plain.replace("[]", wrong))
        with pytest.raises(Misconfigured, match="memoryStores"):
            load(str(file))
    file.write_text(plain.replace("[]", str([f"store{number}" for number in range(9)])))
    where = rf'^{file}:2: agent "a", memoryStores: an execution has at most 8 memory stores'
    with pytest.raises(Misconfigured, match=where):
        load(str(file))
