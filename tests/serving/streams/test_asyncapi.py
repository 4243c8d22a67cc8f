"""The AsyncAPI document describes the messages that there are, and nothing else."""

import json
from typing import Any, get_args

import jsonschema
import pytest

from serct.serving.streams.asyncapi import describe_stream, type_of
from serct.serving.streams.messages import CLIENT_MESSAGES, SERVER_MESSAGES, End, ServerMessage

API = describe_stream()


def resolve(reference: str) -> Any:
    found: Any = API
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def schema_of(kind: str) -> dict[str, Any]:
    payload = API["components"]["messages"][kind]["payload"]
    return {**payload, "components": API["components"]}


def test_every_message_is_in_one_operation() -> None:
    kinds = [type_of(each) for each in (*CLIENT_MESSAGES, *SERVER_MESSAGES)]
    assert len(set(kinds)) == len(kinds)
    operations = API["operations"]
    named = {
        name: [each["$ref"].rpartition("/")[2] for each in operation["messages"]]
        for name, operation in operations.items()
    }
    assert sorted(named["speak"]) == sorted(["audio", *map(type_of, CLIENT_MESSAGES)])
    assert sorted(named["predict"]) == sorted(map(type_of, SERVER_MESSAGES))
    assert set(get_args(get_args(ServerMessage)[0])) == set(SERVER_MESSAGES)


def test_every_reference_leads_somewhere() -> None:
    def references(part: Any) -> list[str]:
        if isinstance(part, list):
            return [each for value in part for each in references(value)]
        if isinstance(part, dict):
            own = [part["$ref"]] if "$ref" in part else []
            return own + references(list(part.values()))
        return []

    found = references(json.loads(json.dumps(API)))
    assert len(found) > 20
    for each in found:
        assert resolve(each)


@pytest.mark.parametrize("message", [*CLIENT_MESSAGES, *SERVER_MESSAGES])
def test_payloads_are_the_types(message: Any) -> None:
    schema = resolve(API["components"]["messages"][type_of(message)]["payload"]["$ref"])
    mode = "validation" if message in CLIENT_MESSAGES else "serialization"
    own = message.model_json_schema(mode=mode, ref_template="#/components/schemas/{model}")
    own.pop("$defs", None)
    assert schema == own


def test_examples_and_only_they_are_valid() -> None:
    for message in CLIENT_MESSAGES:
        example = message.model_json_schema()["example"]
        jsonschema.validate(example, schema_of(example["type"]))
        assert message.model_validate(example).model_dump(exclude_unset=True) == example
    with pytest.raises(jsonschema.ValidationError, match="'mood' was unexpected"):
        jsonschema.validate({"type": "end", "mood": 1}, schema_of(type_of(End)))
