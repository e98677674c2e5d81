# One PostgreSQL server on RDS, as the fleet wants each: encrypted, not public, hard to delete, with a standby,
# backups and logs. RDS makes the master password and keeps it in Secrets Manager: Terraform never knows it.

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_161:logins use SCRAM with passwords that rotate; IAM tokens would be a second way in
  #checkov:skip=CKV2_AWS_30:the site's parameter group logs slow statements; all statements would hold tenants' data
  identifier     = var.name
  engine         = "postgres"
  engine_version = tostring(var.site.engine_major)
  instance_class = var.instance_class
  db_name        = var.database

  username                      = "fleet_master"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.kms_key_arn

  storage_type          = "gp3"
  allocated_storage     = var.storage_gib
  max_allocated_storage = var.storage_gib * 4
  storage_encrypted     = true
  kms_key_id            = var.kms_key_arn

  multi_az               = var.standby
  publicly_accessible    = false
  db_subnet_group_name   = var.site.db_subnet_group_name
  vpc_security_group_ids = [var.site.security_group_id]
  parameter_group_name   = var.site.parameter_group_name
  ca_cert_identifier     = "rds-ca-rsa2048-g1"

  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = false
  final_snapshot_identifier = "${var.name}-final"
  delete_automated_backups  = false
  backup_retention_period   = var.backup_days
  copy_tags_to_snapshot     = true

  auto_minor_version_upgrade  = true
  allow_major_version_upgrade = false
  apply_immediately           = false

  performance_insights_enabled    = true
  performance_insights_kms_key_id = var.kms_key_arn
  monitoring_interval             = 60
  monitoring_role_arn             = aws_iam_role.monitoring.arn
  enabled_cloudwatch_logs_exports = local.exported_logs

  tags = local.tags

  # RDS would make the groups itself, without encryption and for ever.
  depends_on = [aws_cloudwatch_log_group.this]
}

locals {
  exported_logs = ["postgresql", "upgrade"]
  tags          = merge(var.tags, { "fleet:component" = var.component }, var.tenant == null ? {} : { "fleet:tenant" = var.tenant })
}

resource "aws_cloudwatch_log_group" "this" {
  for_each          = toset(local.exported_logs)
  name              = "/aws/rds/instance/${var.name}/${each.key}"
  kms_key_id        = var.kms_key_arn
  retention_in_days = var.log_retention_days
  tags              = local.tags
}

resource "aws_iam_role" "monitoring" {
  name               = "${var.name}-monitoring"
  description        = "Lets RDS write the operating system's metrics of ${var.name}."
  assume_role_policy = data.aws_iam_policy_document.monitoring_trust.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "monitoring" {
  name   = "write-metrics"
  role   = aws_iam_role.monitoring.id
  policy = data.aws_iam_policy_document.monitoring.json
}
