import type { Operation } from '../../contract/operation.ts';
import { stateText, type Paint } from './style.ts';
import { renderTable } from './table.ts';
import { age, lasted } from './time.ts';
import type { View } from './view.ts';

export const operationView: View<Operation> = {
  noun: 'operations',
  name: (operation) => operation.id,
  columns: [
    { title: 'id', value: (operation) => operation.id, whole: true },
    { title: 'kind', value: (operation) => operation.kind },
    { title: 'subject', value: (operation) => operation.subjectName },
    { title: 'state', value: (operation, paint) => stateText(paint, operation.state) },
    { title: 'region', value: (operation) => operation.region },
    { title: 'step', value: currentStep },
    { title: 'took', value: (operation) => lasted(operation.startedAt, operation.finishedAt), right: true },
    { title: 'age', value: (operation) => age(operation.createdAt), right: true },
    { title: 'actor', value: (operation) => operation.actor, wide: true },
    { title: 'request', value: (operation) => operation.requestId, wide: true },
    { title: 'waiting for', value: waiting, detail: true },
    { title: 'error', value: (operation) => operation.error?.message, wide: true },
    { title: 'fix', value: (operation) => operation.error?.fix, detail: true },
  ],
  below: steps,
};

function currentStep(operation: Operation): string {
  const done = operation.steps.filter((step) => step.state === 'done').length;
  const now = operation.steps.find((step) => step.state === 'running' || step.state === 'failed');
  return `${done}/${operation.steps.length}${now === undefined ? '' : ` ${now.name}`}`;
}

function waiting({ waiting: wait }: Operation): string | undefined {
  return wait === null ? undefined : `${wait.for} (for ${age(wait.since)} now)`;
}

function steps(operation: Operation, paint: Paint): string {
  const columns = [
    { title: 'step', value: (step: Operation['steps'][number]) => step.name },
    { title: 'state', value: (step: Operation['steps'][number]) => stateText(paint, step.state) },
    { title: 'tries', value: (step: Operation['steps'][number]) => step.tries, right: true },
    {
      title: 'took',
      value: (step: Operation['steps'][number]) => lasted(step.startedAt, step.finishedAt),
      right: true,
    },
    { title: 'error', value: (step: Operation['steps'][number]) => step.error?.message },
  ];
  return renderTable(operation.steps, columns, paint, undefined);
}
