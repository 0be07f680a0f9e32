"""Reads and writes the CSDL document of the catalogue."""

import json

NAMESPACE = "microsoft.graph"
REVISIONS = "@Org.OData.Core.V1.Revisions"
ADDED_IN_BETA = [{"Kind": "Added", "Version": "beta"}]


def read(path):
    """Returns the document of a file."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def write(path, document):
    """Writes the document: one line for a property, an enumeration or an operation."""
    schema = document[NAMESPACE]
    head = {name: value for name, value in document.items() if name != NAMESPACE}
    lines = ["{"]
    for name, value in head.items():
        if isinstance(value, dict):
            lines.append(f"  {text(name)}: {{")
            lines.extend(separated(f"    {text(key)}: {text(one)}" for key, one in value.items()))
            lines.append("  },")
        else:
            lines.append(f"  {text(name)}: {text(value)},")
    lines.append(f"  {text(NAMESPACE)}: {{")
    lines.extend(separated(element(name, value) for name, value in schema.items()))
    lines.extend(["  }", "}", ""])
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))


def element(name, value):
    """Returns the lines of a type, an enumeration, an operation or the container."""
    if not is_structured(value):
        return f"    {text(name)}: {text(value)}"
    if not members(value):
        return f"    {text(name)}: {text(value)}"
    facts = ", ".join(f"{text(key)}: {text(one)}" for key, one in value.items() if key[0] in "$@")
    lines = [f"      {text(key)}: {text(one)}" for key, one in value.items() if key[0] not in "$@"]
    return "\n".join([f"    {text(name)}: {{", *separated([f"      {facts}", *lines]), "    }"])


def is_structured(value):
    """Returns whether an element of the schema is an entity type or a complex type."""
    return isinstance(value, dict) and value.get("$Kind") in ("EntityType", "ComplexType")


def separated(lines):
    """Adds a comma to every line except the last."""
    lines = list(lines)
    return [line + "," for line in lines[:-1]] + lines[-1:]


def text(value):
    return json.dumps(value, ensure_ascii=False)


def qualified(name):
    """Returns the name of a type with the namespace."""
    return name if name.startswith("Edm.") else f"{NAMESPACE}.{name}"


def members(of):
    """Returns the properties of a type or the members of an enumeration, without facts and annotations."""
    return {name: value for name, value in of.items() if name[0] not in "$@" and "@" not in name}
