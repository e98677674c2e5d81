# What the control plane calls, action by action. The list is compared with the calls in the code: an action that
# nothing calls is as wrong as one that is missing. What AWS does behind these calls is in behind.tf.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}

locals {
  partition = data.aws_partition.this.partition
  # Fleet's region to what begins the ARNs there, up to and with the account.
  places      = { for name, region in var.regions : name => "${region.aws_region}:${data.aws_caller_identity.this.account_id}" }
  aws_regions = distinct([for region in var.regions : region.aws_region])

  # A region's name stands in the ARN twice, as AWS calls it and as the fleet does: a secret of `us` cannot be
  # made in the AWS region of `eu`.
  tenants_secrets = [for name, place in local.places : "arn:${local.partition}:secretsmanager:${place}:secret:fleet/${name}/*"]
  regions_keys    = [for region in var.regions : region.kms_key_arn]
  any_key         = [for place in local.places : "arn:${local.partition}:kms:${place}:key/*"]
  tenants_aliases = [for name, place in local.places : "arn:${local.partition}:kms:${place}:alias/fleet/${name}/*"]
  servers         = [for place in local.places : "arn:${local.partition}:rds:${place}:db:fleet-*"]
  snapshots       = [for place in local.places : "arn:${local.partition}:rds:${place}:snapshot:fleet-*"]
  sites = flatten([for name, place in local.places : [
    "arn:${local.partition}:rds:${place}:subgrp:${var.regions[name].db_subnet_group_name}",
    "arn:${local.partition}:rds:${place}:pg:${var.regions[name].parameter_group_name}",
    "arn:${local.partition}:rds:${place}:og:default:postgres-*",
  ]])
}

data "aws_iam_policy_document" "task" {
  # -- credentials of tenants and servers

  statement {
    sid = "KeepSecrets"
    actions = [
      "secretsmanager:CreateSecret",
      "secretsmanager:DeleteSecret",
      "secretsmanager:DescribeSecret",
      "secretsmanager:GetSecretValue",
      "secretsmanager:ListSecretVersionIds",
      "secretsmanager:PutSecretValue",
      "secretsmanager:RestoreSecret",
      "secretsmanager:TagResource",
      "secretsmanager:UpdateSecretVersionStage",
    ]
    resources = local.tenants_secrets
  }

  # -- keys

  statement {
    sid = "UseRegionsKeys"
    actions = [
      "kms:Decrypt",
      "kms:DescribeKey",
      "kms:Encrypt",
      "kms:GenerateDataKey",
    ]
    resources = local.regions_keys
  }

  # A key without a tenant's tag cannot be made, and the tag cannot be put on another key afterwards.
  statement {
    sid       = "MakeTenantsKeys"
    actions   = ["kms:CreateKey"]
    resources = ["*"]
    condition {
      test     = "Null"
      variable = "aws:RequestTag/fleet:tenant"
      values   = ["false"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/fleet:region"
      values   = keys(var.regions)
    }
    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = local.aws_regions
    }
  }

  statement {
    sid = "UseTenantsKeys"
    actions = [
      "kms:CancelKeyDeletion",
      "kms:CreateAlias",
      "kms:Decrypt",
      "kms:DescribeKey",
      "kms:DisableKey",
      "kms:EnableKey",
      "kms:Encrypt",
      "kms:GenerateDataKey",
      "kms:ScheduleKeyDeletion",
    ]
    resources = local.any_key
    condition {
      test     = "Null"
      variable = "aws:ResourceTag/fleet:tenant"
      values   = ["false"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:region"
      values   = keys(var.regions)
    }
  }

  # kms:CreateAlias asks for the alias as well as for the key.
  statement {
    sid       = "NameTenantsKeys"
    actions   = ["kms:CreateAlias"]
    resources = local.tenants_aliases
  }

  # -- servers

  # No server without encryption.
  statement {
    sid       = "CreateServers"
    actions   = ["rds:CreateDBInstance"]
    resources = concat(local.servers, local.sites)
    condition {
      test     = "BoolIfExists"
      variable = "rds:StorageEncrypted"
      values   = ["true"]
    }
  }

  statement {
    sid = "ChangeServers"
    actions = [
      "rds:AddTagsToResource",
      "rds:CreateDBSnapshot",
      "rds:DeleteDBInstance",
      "rds:DeleteDBSnapshot",
      "rds:ListTagsForResource",
      "rds:ModifyDBInstance",
      "rds:RebootDBInstance",
      "rds:RestoreDBInstanceToPointInTime",
      "rds:StartDBInstance",
      "rds:StopDBInstance",
    ]
    resources = concat(local.servers, local.snapshots, local.sites)
  }

  # Lists are of all servers of a region: adopting looks for tags, not for names.
  statement {
    sid       = "SeeServers"
    actions   = ["rds:DescribeDBInstances", "rds:DescribeDBSnapshots"]
    resources = flatten([for place in local.places : ["arn:${local.partition}:rds:${place}:db:*", "arn:${local.partition}:rds:${place}:snapshot:*"]])
  }

  # Knows no resource.
  statement {
    sid       = "SeeQuotas"
    actions   = ["rds:DescribeAccountAttributes"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = local.aws_regions
    }
  }

  # The registry stands among the servers by its name; the control plane must not touch what it stands on.
  statement {
    sid    = "LeaveTheRegistryAlone"
    effect = "Deny"
    actions = [
      "rds:DeleteDBInstance",
      "rds:ModifyDBInstance",
      "rds:RebootDBInstance",
      "rds:StopDBInstance",
    ]
    resources = [for place in local.places : "arn:${local.partition}:rds:${place}:db:fleet-registry"]
  }
}
