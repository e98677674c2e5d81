# What the control plane calls of AWS for secrets and keys, action by action; for servers see servers.tf. test/unit/aws-rights.test.ts compares
# the list with the calls in the code: an action that nothing calls is as wrong as one that is missing. What AWS
# does behind these calls is in behind.tf. Names and tags are those of platform/aws/names.ts.

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}

locals {
  partition = data.aws_partition.this.partition
  # Fleet's region to what begins the ARNs there, up to and with the account.
  places      = { for name, region in var.regions : name => "${region.aws_region}:${data.aws_caller_identity.this.account_id}" }
  aws_regions = distinct([for region in var.regions : region.aws_region])

  # A region's name stands in the ARN twice, as AWS calls it and as the fleet does: a secret of `us` cannot be
  # made in the AWS region of `eu`.
  secret_arns = flatten([for name, place in local.places : [
    "arn:${local.partition}:secretsmanager:${place}:secret:${var.fleet_name}/${name}/tenant-*",
    "arn:${local.partition}:secretsmanager:${place}:secret:${var.fleet_name}/${name}/server-*",
  ]])
  any_key = [for place in local.places : "arn:${local.partition}:kms:${place}:key/*"]
  aliases = [for name, place in local.places : "arn:${local.partition}:kms:${place}:alias/${var.fleet_name}/${name}/*"]
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
      "secretsmanager:PutSecretValue",
      "secretsmanager:UpdateSecretVersionStage",
    ]
    resources = local.secret_arns
  }

  # -- their keys, one for each tenant and server

  # A key cannot be made without the fleet's tags, nor can they be put on another key afterwards.
  statement {
    sid       = "MakeKeys"
    actions   = ["kms:CreateKey"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/fleet:fleet"
      values   = [var.fleet_name]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/fleet:component"
      values   = ["secrets"]
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
    sid = "KeepKeys"
    actions = [
      "kms:CancelKeyDeletion",
      "kms:DescribeKey",
      "kms:EnableKey",
      "kms:ScheduleKeyDeletion",
    ]
    resources = local.any_key
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:fleet"
      values   = [var.fleet_name]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:component"
      values   = ["secrets"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:region"
      values   = keys(var.regions)
    }
  }

  # kms:CreateAlias asks for the alias as well as for the key. Not bound to tags: those of a new key may count only
  # after minutes, and a key without its name would be made again and again. A name alone opens nothing.
  statement {
    sid       = "NameKeys"
    actions   = ["kms:CreateAlias"]
    resources = concat(local.any_key, local.aliases)
  }

  # What the code seals itself says so in its encryption context; what Secrets Manager seals is in behind.tf.
  statement {
    sid       = "SealValues"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = local.any_key
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:fleet"
      values   = [var.fleet_name]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:component"
      values   = ["secrets"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:purpose"
      values   = ["value"]
    }
  }
}
