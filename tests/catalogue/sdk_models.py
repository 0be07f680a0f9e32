"""Reads Graph's types from the packages of its SDKs.

The Python packages have the names, the types and the members of enumerations. The package of
TypeScript declarations says which properties may be null. It also distinguishes a collection from
a value of a flags enumeration: the Python models have a list for both.
"""

import ast
import re
import tarfile
import zipfile
from dataclasses import dataclass, field

#: The primitive types by the method that reads a value. Integers: see `Model.integer`.
PRIMITIVES = {
    "get_bool_value": "Edm.Boolean",
    "get_bytes_value": "Edm.Binary",
    "get_date_value": "Edm.Date",
    "get_datetime_value": "Edm.DateTimeOffset",
    "get_float_value": "Edm.Double",
    "get_int_value": "integer",
    "get_str_value": "Edm.String",
    "get_time_value": "Edm.TimeOfDay",
    "get_timedelta_value": "Edm.Duration",
    "get_uuid_value": "Edm.Guid",
}
#: The primitive types of elements by the name of the Python type.
ELEMENTS = {"bool": "Edm.Boolean", "bytes": "Edm.Binary", "float": "Edm.Double", "int": "integer", "str": "Edm.String"}


@dataclass
class Property:
    """A property of a type. `type` is the name of an Edm type, of a type of the model, or "integer".

    `is_nullable` is None when the declarations do not have the property yet.
    """

    type: str
    is_collection: bool = False
    is_nullable: bool | None = None
    comment: str = ""


@dataclass
class Structured:
    """An entity type or a complex type, with its own properties."""

    base: str | None
    properties: dict[str, Property] = field(default_factory=dict)


@dataclass
class Enumeration:
    """An enumeration. A flags enumeration has values of several members."""

    members: list[str]
    is_flags: bool = False


def lower_first(name):
    """Returns the name of a type from the name of its class."""
    return name[:1].lower() + name[1:]


class PythonModels:
    """The classes of a Python package."""

    def __init__(self, wheel):
        self.archive = zipfile.ZipFile(wheel)
        pattern = re.compile(r"\w+/generated/models/(\w+)\.py")
        paths = ((pattern.fullmatch(path), path) for path in self.archive.namelist())
        self.paths = {match[1]: path for match, path in paths if match}
        self.classes = {}

    def read(self, module):
        """Returns the class of a module."""
        if module not in self.classes:
            tree = ast.parse(self.archive.read(self.paths[module]))
            self.classes[module] = next(node for node in tree.body if isinstance(node, ast.ClassDef))
        return self.classes[module]

    @staticmethod
    def method(of, name):
        """Returns the method of a class with this name, or None."""
        return next((node for node in of.body if isinstance(node, ast.FunctionDef) and node.name == name), None)

    @staticmethod
    def imports(node):
        """Returns the modules of the classes that a class or a method imports."""
        found = (part for part in ast.walk(node) if isinstance(part, ast.ImportFrom) and part.level == 1)
        return {alias.name: part.module for part in found for alias in part.names}

    def derived(self, of):
        """Returns the names of the types that are derived from a class, with their modules."""
        factory = self.method(of, "create_from_discriminator_value")
        found = {}
        for branch in (node for node in ast.walk(factory) if isinstance(node, ast.If)):
            names = [node.value for node in ast.walk(branch.test) if isinstance(node, ast.Constant)]
            names = [name for name in names if isinstance(name, str) and name.startswith("#microsoft.graph.")]
            for name in names:
                (module,) = self.imports(branch).values()
                found[name.removeprefix("#microsoft.graph.")] = module
        return found

    def fields(self, of):
        """Yields the name, the method and the class of each property of a class."""
        method = self.method(of, "get_field_deserializers")
        for node in ast.walk(method):
            if not isinstance(node, ast.Dict):
                continue
            for key, value in zip(node.keys, node.values):
                calls = [call for call in ast.walk(value) if isinstance(call, ast.Call)]
                call = next(call for call in calls if getattr(call.func, "attr", "").startswith("get_"))
                yield key.value, call.func.attr, ast.unparse(call.args[0]) if call.args else None


class Declarations:
    """The declarations of the TypeScript package."""

    def __init__(self, package):
        with tarfile.open(package) as archive:
            text = archive.extractfile("package/microsoft-graph.d.ts").read().decode()
        self.interfaces = {}
        for name, body in re.findall(r"export interface (\w+)[^{\n]*\{(\}|.*?\n\})", text, re.S):
            self.interfaces[name.lower()] = self.members(body)

    @staticmethod
    def members(body):
        pattern = r"((?://[^\n]*\n\s*|/\*.*?\*/\s*)?)(\w+)\?: ([^;]+);"
        return {name: (declared, comment) for comment, name, declared in re.findall(pattern, body, re.S)}

    def member(self, of, name):
        """Returns whether a property is nullable, whether it is a collection, and its comment.

        Returns None for a property that the declarations do not have.
        """
        if name not in self.interfaces.get(of.lower(), {}):
            return None
        declared, comment = self.interfaces[of.lower()][name]
        comment = " ".join(re.sub(r"^\s*(//|/\*\*|\*/|\*)", "", line).strip() for line in comment.splitlines())
        return declared.startswith("NullableOption<"), declared.rstrip("> ").endswith("[]"), comment


class Model:
    """The types that can be reached from some types, of one version of Graph."""

    def __init__(self, wheel, declarations=None):
        self.models = PythonModels(wheel)
        self.declarations = declarations
        self.types = {}

    def add(self, module):
        """Adds the type of a module, with its base, its derived types and its properties."""
        of = self.models.read(module)
        name = lower_first(of.name)
        if name in self.types:
            return name
        bases = [ast.unparse(base) for base in of.bases]
        if "Enum" in bases:
            values = (node.value for node in of.body if isinstance(node, ast.Assign))
            texts = (ast.literal_eval(value) for value in values)
            self.types[name] = Enumeration([text[0] if isinstance(text, tuple) else text for text in texts])
            return name
        imports = self.models.imports(ast.parse(self.models.archive.read(self.models.paths[module])))
        inherited = [base for base in bases if base in imports]
        kind = self.types[name] = Structured(lower_first(inherited[0]) if inherited else None)
        if inherited:
            self.add(imports[inherited[0]])
        for field_name, method, argument in self.models.fields(of):
            if field_name != "@odata.type":
                kind.properties[field_name] = self.property(name, field_name, method, argument, imports)
        if name != "entity":
            for derived in self.models.derived(of).values():
                self.add(derived)
        return name

    def property(self, owner, name, method, argument, imports):
        """Returns a property from the method that reads it."""
        is_list = method.startswith("get_collection_of_")
        declared = self.declarations and self.declarations.member(owner, name)
        nullable, is_collection, comment = declared or (None, is_list, "")
        if argument in imports:
            of = self.add(imports[argument])
            if is_list and not is_collection:
                self.types[of].is_flags = True
        else:
            of = ELEMENTS[argument] if is_list else PRIMITIVES[method]
        return Property(of, is_collection, nullable, comment)

    def is_entity(self, name):
        """Returns whether a type is derived from `entity`."""
        while name:
            if name == "entity":
                return True
            name = getattr(self.types[name], "base", None)
        return False
