from typing_extensions import disjoint_base

@disjoint_base
class Words: ...

@disjoint_base
class Axis: ...

@disjoint_base
class Classes: ...
