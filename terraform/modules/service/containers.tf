data "aws_region" "this" {}

# The programs read some secrets from files, and ECS gives secrets as variables only. So a first container
# writes them, 0600, into a volume of the task and ends; the program's own environment never holds them.
locals {
  tags        = merge(var.tags, { "fleet:component" = var.component })
  file_folder = "/run/flotilla"
  file_names  = keys(var.secret_files)

  log = {
    logDriver = "awslogs"
    options = {
      awslogs-group         = aws_cloudwatch_log_group.this.name
      awslogs-region        = data.aws_region.this.region
      awslogs-stream-prefix = var.name
    }
  }
  files_mount = { sourceVolume = "files", containerPath = local.file_folder, readOnly = false }

  writer = {
    name                   = "files"
    image                  = var.image
    essential              = false
    entryPoint             = ["node", "--input-type=module", "--eval"]
    command                = [file("${path.module}/write-files.mjs")]
    readonlyRootFilesystem = true
    environment            = [{ name = "FILES", value = jsonencode({ for index, name in local.file_names : "${local.file_folder}/${name}" => "FILE_${index}" }) }]
    secrets                = [for index, name in local.file_names : { name = "FILE_${index}", valueFrom = var.secret_files[name] }]
    mountPoints            = [local.files_mount]
    logConfiguration       = local.log
  }

  program = {
    name      = "program"
    image     = var.image
    essential = true
    command   = var.arguments
    # ECS Exec writes into the container, so a task that allows it has no read-only root.
    readonlyRootFilesystem = !var.allow_exec
    linuxParameters        = { initProcessEnabled = true }
    # Programs end within 10 s of SIGTERM.
    stopTimeout  = 30
    environment  = [for name, value in var.environment : { name = name, value = value }]
    secrets      = [for name, arn in var.secrets : { name = name, valueFrom = arn }]
    portMappings = var.port == null ? [] : [{ containerPort = var.port, protocol = "tcp" }]
    mountPoints = concat(
      [merge(local.files_mount, { readOnly = true })],
      [for volume in var.data_volume[*] : { sourceVolume = "data", containerPath = volume.path, readOnly = false }],
    )
    dependsOn = length(local.file_names) == 0 ? [] : [{ containerName = "files", condition = "SUCCESS" }]
    healthCheck = var.port == null ? null : {
      command     = ["CMD", "node", "--eval", "fetch('http://127.0.0.1:${var.port}/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
      interval    = 15
      timeout     = 5
      retries     = 3
      startPeriod = 60
    }
    logConfiguration = local.log
  }

  containers = concat(length(local.file_names) == 0 ? [] : [local.writer], [local.program])
}
