# Where PostgreSQL servers of the fleet stand and with which settings: subnets without a way to the internet,
# who may connect, and the parameter group. Servers that the control plane creates later use the same three.

resource "aws_db_subnet_group" "this" {
  name        = var.name
  description = "PostgreSQL servers of ${var.name}"
  subnet_ids  = var.subnet_ids
  tags        = local.tags
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:servers use it by its id, those of the control plane too
  name_prefix = "${var.name}-"
  description = "Who may connect to the PostgreSQL servers of ${var.name}."
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { Name = var.name })
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "groups" {
  for_each                     = var.client_security_groups
  security_group_id            = aws_security_group.this.id
  description                  = "PostgreSQL from ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

# Security groups of another region cannot be named here; its addresses can.
resource "aws_vpc_security_group_ingress_rule" "networks" {
  for_each          = var.client_networks
  security_group_id = aws_security_group.this.id
  description       = "PostgreSQL from ${each.key}"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = local.port
  to_port           = local.port
}

# A tenant's database is copied by logical replication: the source must be reachable from the target.
resource "aws_vpc_security_group_ingress_rule" "siblings" {
  security_group_id            = aws_security_group.this.id
  description                  = "PostgreSQL among these servers, for moves"
  referenced_security_group_id = aws_security_group.this.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_vpc_security_group_egress_rule" "siblings" {
  security_group_id            = aws_security_group.this.id
  description                  = "PostgreSQL among these servers, for moves"
  referenced_security_group_id = aws_security_group.this.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_db_parameter_group" "this" {
  name        = "${var.name}-postgres${var.engine_major}"
  family      = "postgres${var.engine_major}"
  description = "What the fleet needs of PostgreSQL"
  tags        = local.tags

  dynamic "parameter" {
    for_each = local.settings
    content {
      name         = parameter.key
      value        = parameter.value
      apply_method = contains(local.after_restart, parameter.key) ? "pending-reboot" : "immediate"
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

locals {
  port = 5432
  tags = merge(var.tags, { "fleet:component" = "database" })

  settings = {
    # A connection without TLS is refused.
    "rds.force_ssl" = "1"
    # Passwords reach PostgreSQL as SCRAM verifiers; nothing weaker is made or accepted.
    "password_encryption"               = "scram-sha-256"
    "rds.accepted_password_auth_method" = "scram"
    # Moving a tenant copies its database by publication and subscription.
    "rds.logical_replication" = "1"
    # Slow statements are logged; 1 s by default, so that parameters of quick ones are in no log.
    "log_min_duration_statement" = tostring(var.log_slower_than_ms)
    # A statement whose client is gone ends, instead of holding locks: 500 ms, as migrations set it too.
    "client_connection_check_interval" = "500"
    # Gates and drift checks read the statistics.
    "track_counts" = "1"
  }
  after_restart = ["rds.logical_replication"]
}
