"""TaskService and AuditService: what was ordered and done."""

from __future__ import annotations

from control.access.roles import Permission
from control.api import convert, shown
from control.api.context import ReadCall
from control.store import listing
from control.store.records import TaskRecord
from control.v1 import audit_pb2, task_pb2


def get_task(request: task_pb2.GetTaskRequest, call: ReadCall) -> task_pb2.GetTaskResponse:
    """One task."""
    return task_pb2.GetTaskResponse(task=_task(call.state.task(request.name), call))


def list_tasks(request: task_pb2.ListTasksRequest, call: ReadCall) -> task_pb2.ListTasksResponse:
    """The tasks of an organization."""
    shape = listing.TASK_LIST if call.caller.may(Permission.EVERY_ORG) else listing.TASKS_OF_TENANTS
    query = convert.query(request, shape, f"{request.parent}/tasks")
    records, token = call.state.tasks(request.parent, query, shape)
    return task_pb2.ListTasksResponse(tasks=[_task(record, call) for record in records], next_page_token=token)


def _task(record: TaskRecord, call: ReadCall) -> task_pb2.Task:
    return convert.task_message(shown.task(call.caller, record))


def list_audit_records(
    request: audit_pb2.ListAuditRecordsRequest, call: ReadCall
) -> audit_pb2.ListAuditRecordsResponse:
    """The audit trail of an organization."""
    query = convert.query(request, listing.AUDIT_LIST, f"{request.parent}/audit")
    records, token = call.state.audit(request.parent, query)
    return audit_pb2.ListAuditRecordsResponse(records=map(convert.audit_message, records), next_page_token=token)
