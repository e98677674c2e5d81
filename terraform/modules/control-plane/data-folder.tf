# The data folder: the master key and the admin's first token, made at the first start and read at each. Tasks
# come and go, and a new key at each start would lock the fleet out of its own secrets.

resource "aws_efs_file_system" "data" {
  creation_token = "fleet-control-plane"
  encrypted      = true
  kms_key_id     = var.kms_key_arn
  tags           = merge(local.data_tags, { Name = "fleet-control-plane" })
}

resource "aws_efs_backup_policy" "data" {
  file_system_id = aws_efs_file_system.data.id
  backup_policy {
    status = "ENABLED"
  }
}

resource "aws_efs_access_point" "data" {
  file_system_id = aws_efs_file_system.data.id
  # The user of the images; nobody else's files are under this path.
  posix_user {
    uid = 1000
    gid = 1000
  }
  root_directory {
    path = "/flotilla"
    creation_info {
      owner_uid   = 1000
      owner_gid   = 1000
      permissions = "0700"
    }
  }
  tags = local.data_tags
}

resource "aws_efs_mount_target" "data" {
  count           = length(var.private_subnet_ids)
  file_system_id  = aws_efs_file_system.data.id
  subnet_id       = var.private_subnet_ids[count.index]
  security_groups = [aws_security_group.data.id]
}

resource "aws_security_group" "data" {
  name_prefix = "fleet-data-"
  description = "Who may mount the control plane's data folder."
  vpc_id      = var.vpc_id
  tags        = merge(local.data_tags, { Name = "fleet-data" })
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "data" {
  for_each                     = { api = module.api.security_group_id, worker = module.worker.security_group_id }
  security_group_id            = aws_security_group.data.id
  description                  = "NFS from the ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}

# Over TLS, through the access point, by the control plane's roles: a task elsewhere in the network gets nothing.
resource "aws_efs_file_system_policy" "data" {
  file_system_id = aws_efs_file_system.data.id
  policy         = data.aws_iam_policy_document.data_folder_guard.json
}

locals {
  data_tags = merge(var.tags, { "fleet:component" = local.component })
}
