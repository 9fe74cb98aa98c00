"""Who may do what, under which assessment, and what is written down about it.

A gated run needs, in this order: an account (``People``), a DPIA that others than its author advised on and approved
(``DpiaRegister``), a model with a card and a licence (``ModelRegistry``), and then
``PolicyGate.check(Use(...)) -> Permit``, with ``PolicyGate.require(permit)`` before each search or prediction.
What comes out of a search two people decide on (``ReviewBook``); what is changed in a policy one asks for and another
approves (``ChangeRegister``, ``PolicyFile``).
Knows nothing of faces or crime.
"""

from crimeface_lib.governance.access import PERMITTED, Action, People, Role, User, may
from crimeface_lib.governance.audit import AuditEvent, AuditEvents, AuditLog
from crimeface_lib.governance.bias import BiasReport, audit_bias
from crimeface_lib.governance.bias_register import BiasRegister, BiasTable, DifferentialAlert, StoredBiasReport
from crimeface_lib.governance.changes import Change, ChangeList, ChangeRegister
from crimeface_lib.governance.datasheet import Datasheet
from crimeface_lib.governance.disposal import Disposal, Disposer, Hold
from crimeface_lib.governance.dpia import Dpia, ModelRef, Risk, Scope, template, template_text
from crimeface_lib.governance.dpia_record import (
    Approval,
    DpiaDiff,
    DpiaList,
    DpiaRecord,
    DpiaStatus,
    DpiaVersion,
    NotApprovedError,
)
from crimeface_lib.governance.mlbom import build_mlbom, mlbom_json
from crimeface_lib.governance.modelcard import LICENCES, ModelCard, ModelRegistry
from crimeface_lib.governance.policy import Permit, PolicyGate, Use
from crimeface_lib.governance.register import DpiaRegister
from crimeface_lib.governance.retention import Due, Item, RetentionPlan, RetentionSchedule
from crimeface_lib.governance.review import Decided, Review, ReviewBook, ReviewList
from crimeface_lib.governance.thresholds import ApprovedThreshold, PolicyFile

__all__ = [
    "Datasheet",
    "LICENCES",
    "PERMITTED",
    "Action",
    "Approval",
    "ApprovedThreshold",
    "AuditEvent",
    "AuditEvents",
    "AuditLog",
    "BiasRegister",
    "BiasReport",
    "BiasTable",
    "Change",
    "ChangeList",
    "ChangeRegister",
    "Decided",
    "DifferentialAlert",
    "Disposal",
    "Disposer",
    "Hold",
    "Dpia",
    "DpiaDiff",
    "DpiaList",
    "DpiaRecord",
    "DpiaRegister",
    "DpiaStatus",
    "DpiaVersion",
    "Due",
    "Item",
    "ModelCard",
    "ModelRef",
    "ModelRegistry",
    "NotApprovedError",
    "People",
    "Permit",
    "PolicyFile",
    "PolicyGate",
    "RetentionPlan",
    "RetentionSchedule",
    "Review",
    "ReviewBook",
    "ReviewList",
    "Risk",
    "Role",
    "Scope",
    "StoredBiasReport",
    "Use",
    "User",
    "audit_bias",
    "build_mlbom",
    "may",
    "mlbom_json",
    "template",
    "template_text",
]
