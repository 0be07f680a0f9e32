#!/usr/bin/env python3
"""Compares the catalogue with the packages of Graph's SDKs.

    compare.py PACKAGES            prints every difference, and fails if there is one
    compare.py PACKAGES --write    brings the document up to date

PACKAGES is a folder with the packages that `run.sh` downloads. `known.json` lists facts that no
package contains, and intended differences, each with a reason.
"""

import json
import pathlib
import re
import sys

import csdl
from sdk_models import Declarations, Enumeration, Model, Structured

HERE = pathlib.Path(__file__).parent
DOCUMENT = HERE / "../../src/catalogue/graph.csdl.json"
VALIDATION = "@Org.OData.Validation.V1."
#: The name of a member of a flags enumeration that stands for no flag.
NO_FLAG = re.compile("none|notConfigured|undefined|userDefined|unknown")
#: Facts of a navigation property that the packages do not contain. The document keeps them.
UNTOLD_OF_NAVIGATION = ("$Nullable", "$ContainsTarget")


class Comparison:
    """Compares the document with the models of both versions."""

    def __init__(self, document, v1, beta, known):
        self.schema, self.v1, self.beta, self.known = document[csdl.NAMESPACE], v1, beta, known
        self.used, self.differences = set(), []

    def differ(self, path, text):
        """Adds a difference."""
        self.differences.append(f"{path}: {text}")

    def is_listed(self, section, path):
        """Returns whether a section of known.json has the path."""
        if path in self.known[section]:
            self.used.add(path)
            return True
        return False

    def run(self):
        """Compares every type. Returns the schema that the packages describe."""
        expected = {}
        for name, of in self.beta.types.items():
            found = self.schema.get(name, {})
            of_v1 = self.v1.types.get(name)
            make = self.enumeration if isinstance(of, Enumeration) else self.structured
            expected[name] = make(name, of, of_v1, found)
        for name in self.v1.types.keys() - self.beta.types.keys():
            self.differ(name, "only the package of /v1.0 has this type")
        for name, element in self.schema.items():
            if name not in expected and not self.is_listed("document", name):
                self.differ(name, "no package has it")
                expected[name] = element
        every = {path for section in self.known.values() for path in section}
        self.differences.extend(f"{path}: known.json has it without need" for path in sorted(every - self.used))
        return expected

    def structured(self, name, of, of_v1, found):
        """Returns the element of an entity type or a complex type."""
        is_entity = self.beta.is_entity(name)
        element = {"$Kind": "EntityType" if is_entity else "ComplexType"}
        if of.base:
            element["$BaseType"] = csdl.qualified(of.base)
        if name.endswith("Base") or self.is_listed("abstract", name):
            element["$Abstract"] = True
        if "$Key" in found:
            element["$Key"] = found["$Key"]
        if of_v1 is None:
            element[csdl.REVISIONS] = csdl.ADDED_IN_BETA
        facts = {key: value for key, value in found.items() if key[0] in "$@"}
        if facts != element:
            self.differ(name, f"{csdl.text(facts)} in the document, {csdl.text(element)} in the packages")
        properties = {}
        for property_name, one in of.properties.items():
            path = f"{name}.{property_name}"
            is_beta = of_v1 is not None and property_name not in of_v1.properties
            properties[property_name] = self.property(path, one, is_beta, found.get(property_name))
        for property_name in csdl.members(found).keys() - properties.keys():
            self.differ(f"{name}.{property_name}", "no package has this property")
        if of_v1 is not None:
            self.compare_versions(name, of, of_v1)
        return element | dict(sorted(properties.items(), key=lambda item: self.order(found, *item)))

    @staticmethod
    def order(found, name, facts):
        """Returns the sort key of a property: those of /v1.0, those of /beta, navigation properties."""
        return "$Kind" in facts, csdl.REVISIONS in facts, name.lower()

    def compare_versions(self, name, of, of_v1):
        """Reports properties of /v1.0 that /beta lacks, or that have another type in /beta."""
        if of.base != of_v1.base:
            self.differ(f"{name} in /v1.0", f"its base is {of_v1.base}")
        for property_name, one in of_v1.properties.items():
            in_beta = of.properties.get(property_name)
            if in_beta is None or in_beta.type != one.type:
                self.differ(f"{name}.{property_name} in /v1.0", f"it is {one.type}, and {in_beta} in /beta")

    def property(self, path, one, is_beta, found):
        """Returns the element of a property."""
        is_navigation = isinstance(self.beta.types.get(one.type), Structured) and self.beta.is_entity(one.type)
        element = {"$Kind": "NavigationProperty"} if is_navigation else {}
        if one.is_collection:
            element["$Collection"] = True
        edm = self.edm_type(path, one)
        if not is_navigation and self.is_nullable(path, one):
            element["$Nullable"] = True
        if edm != "Edm.String":
            element["$Type"] = edm
        if is_navigation:
            untold = found if found is not None else {"$Nullable": not one.is_collection}
            element |= {key: untold[key] for key in UNTOLD_OF_NAVIGATION if untold.get(key)}
        else:
            element |= self.limits(path, one, edm)
        if is_beta:
            element[csdl.REVISIONS] = csdl.ADDED_IN_BETA
        if path in self.known["differences"]:
            self.used.add(path)
            element = self.known["differences"][path]["element"]
        if found is None:
            self.differ(path, "the document does not have this property")
        elif found != element:
            self.differ(path, f"{csdl.text(found)} in the document, {csdl.text(element)} in the packages")
        return element

    def edm_type(self, path, one):
        """Returns the type of a property as the document writes it."""
        if one.type == "integer":
            is_long = self.is_listed("int64", path) or any(not -(2**31) <= bound < 2**31 for bound in stated_range(one))
            return "Edm.Int64" if is_long else "Edm.Int32"
        if one.type == "Edm.Double" and self.is_listed("single", path):
            return "Edm.Single"
        return csdl.qualified(one.type)

    def is_nullable(self, path, one):
        """Returns whether null is a value. The declarations lag behind the models: see known.json."""
        if one.is_nullable is None:
            if not self.is_listed("undeclared", path):
                self.differ(path, "the declarations do not have this property: add it to 'undeclared' of known.json")
            return not self.is_listed("notNullable", path)
        return one.is_nullable

    def limits(self, path, one, edm):
        """Returns the annotations of the limits that the packages state."""
        if self.is_listed("unlimited", path):
            return {}
        limits = {}
        bounds = stated_range(one)
        if bounds and edm in ("Edm.Int32", "Edm.Int64"):
            low, high = bounds
            full = {"Edm.Int32": 2**31, "Edm.Int64": 2**63}[edm]
            limits |= {VALIDATION + "Minimum": low} if low > -full else {}
            limits |= {VALIDATION + "Maximum": high} if high < full - 1 else {}
        most = re.search(r"maximum of (\d+) elements", one.comment)
        if most and one.is_collection:
            limits[VALIDATION + "MaxItems"] = int(most[1])
        return limits

    def enumeration(self, name, of, of_v1, found):
        """Returns the element of an enumeration. Members keep the values that the document has."""
        element = {"$Kind": "EnumType"} | ({"$IsFlags": True} if of.is_flags else {})
        if of_v1 is None:
            element[csdl.REVISIONS] = csdl.ADDED_IN_BETA
        values = csdl.members(found) if found.get("$IsFlags", False) == of.is_flags else {}
        for member in [*values, *(member for member in of.members if member not in values)]:
            if member not in of.members:
                self.differ(f"{name}.{member}", "no package has this member")
            element[member] = values.get(member, next_value(element, of, member))
            if of_v1 is not None and member not in of_v1.members:
                element[member + csdl.REVISIONS] = csdl.ADDED_IN_BETA
        numbers = list(csdl.members(element).values())
        if len(numbers) != len(set(numbers)):
            self.differ(name, "two members have the same number")
        if element != found:
            missing = [member for member in of.members if member not in found]
            self.differ(name, f"the document lacks {missing or 'facts: ' + csdl.text(element)}")
        return element


def stated_range(one):
    """Returns the smallest and the largest number that the comment of a property states, or nothing."""
    stated = re.search(r"Valid values (-?\d+) to (-?\d+)", one.comment)
    return (int(stated[1]), int(stated[2])) if stated else ()


def next_value(element, of, member):
    """Returns the number of a member that the document does not have. The packages have no numbers."""
    numbers = csdl.members(element).values()
    if not of.is_flags:
        return max(numbers, default=-1) + 1
    if NO_FLAG.fullmatch(member) and 0 not in numbers:
        return 0
    return 1 << max(numbers, default=0).bit_length()


def ordered(schema, expected):
    """Returns the elements in the order of the document: entity types, complex types, enumerations, the rest."""
    every = schema | expected
    first = ["entity", "deviceManagement", "deviceConfiguration"]
    kinds = ["EntityType", "ComplexType", "EnumType"]

    def key(name):
        kind = every[name]["$Kind"] if isinstance(every[name], dict) else "operation"
        of_kind = kinds.index(kind) if kind in kinds else len(kinds)
        return of_kind, first.index(name) if name in first else len(first), name.lower() if kind in kinds else ""

    return {name: every[name] for name in sorted(every, key=key)}


def main():
    packages = pathlib.Path(sys.argv[1])
    known = json.loads((HERE / "known.json").read_text())
    declarations = Declarations(next(packages.glob("microsoft-microsoft-graph-types-beta-*.tgz")))
    v1 = Model(next(packages.glob("msgraph_sdk-*.whl")))
    beta = Model(next(packages.glob("msgraph_beta_sdk-*.whl")), declarations)
    for model in (v1, beta):
        model.add("device_configuration")
    document = csdl.read(DOCUMENT)
    comparison = Comparison(document, v1, beta, known)
    expected = comparison.run()
    for difference in comparison.differences:
        print(difference)
    if sys.argv[2:] == ["--write"]:
        document[csdl.NAMESPACE] = ordered(document[csdl.NAMESPACE], expected)
        csdl.write(DOCUMENT, document)
        print("the document is written: look at the difference, and compare again")
        return 0
    print(f"{len(comparison.differences)} differences in {len(expected)} types")
    return 1 if comparison.differences else 0


if __name__ == "__main__":
    sys.exit(main())
