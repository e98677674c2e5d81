# What the control plane calls of AWS for servers on RDS, action by action; see policy.tf. All of it hangs on two
# tags: fleet:fleet says whose, fleet:server that it is a server of tenants, which the registry is not.

locals {
  regions_keys  = [for region in var.regions : region.kms_key_arn]
  own_servers   = [for place in local.places : "arn:${local.partition}:rds:${place}:db:${var.fleet_name}-*"]
  any_server    = [for place in local.places : "arn:${local.partition}:rds:${place}:db:*"]
  own_snapshots = [for place in local.places : "arn:${local.partition}:rds:${place}:snapshot:${var.fleet_name}-*"]
  any_snapshot  = [for place in local.places : "arn:${local.partition}:rds:${place}:snapshot:*"]
  sites = flatten([for name, place in local.places : [
    "arn:${local.partition}:rds:${place}:subgrp:${var.regions[name].db_subnet_group_name}",
    "arn:${local.partition}:rds:${place}:pg:${var.regions[name].parameter_group_name}",
    "arn:${local.partition}:rds:${place}:og:default:postgres-*",
  ]])
}

data "aws_iam_policy_document" "servers" {
  # No server without encryption, and none that does not say whose it is.
  statement {
    sid       = "CreateServers"
    actions   = ["rds:CreateDBInstance"]
    resources = concat(local.own_servers, local.sites)
    condition {
      test     = "Bool"
      variable = "rds:StorageEncrypted"
      values   = ["true"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/fleet:fleet"
      values   = [var.fleet_name]
    }
    condition {
      test     = "Null"
      variable = "aws:RequestTag/fleet:server"
      values   = ["false"]
    }
  }

  # By its tags, not by its name: one that was taken into the fleet may be called anything.
  statement {
    sid = "ChangeServers"
    actions = [
      "rds:DeleteDBInstance",
      "rds:ModifyDBInstance",
      "rds:StartDBInstance",
      "rds:StopDBInstance",
    ]
    resources = local.any_server
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:fleet"
      values   = [var.fleet_name]
    }
    condition {
      test     = "Null"
      variable = "aws:ResourceTag/fleet:server"
      values   = ["false"]
    }
  }

  # Of a server and to a snapshot: AWS asks for both.
  statement {
    sid       = "SnapshotServers"
    actions   = ["rds:CreateDBSnapshot"]
    resources = local.any_server
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:fleet"
      values   = [var.fleet_name]
    }
    condition {
      test     = "Null"
      variable = "aws:ResourceTag/fleet:server"
      values   = ["false"]
    }
  }

  statement {
    sid       = "KeepSnapshots"
    actions   = ["rds:CreateDBSnapshot", "rds:DeleteDBSnapshot"]
    resources = local.own_snapshots
  }

  # What is being made, or has the fleet's name already.
  statement {
    sid       = "MarkOwn"
    actions   = ["rds:AddTagsToResource"]
    resources = concat(local.own_servers, local.own_snapshots)
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/fleet:fleet"
      values   = [var.fleet_name]
    }
  }

  # A server of another name is taken into the fleet where a person has tagged it with the fleet's name before.
  statement {
    sid       = "MarkAdopted"
    actions   = ["rds:AddTagsToResource"]
    resources = local.any_server
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/fleet:fleet"
      values   = [var.fleet_name]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:fleet"
      values   = [var.fleet_name]
    }
  }

  # Lists are of all servers of a region: adopting looks for tags, not for names.
  statement {
    sid       = "SeeServers"
    actions   = ["rds:DescribeDBInstances", "rds:DescribeDBSnapshots"]
    resources = concat(local.any_server, local.any_snapshot)
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

  # Whatever its tags say: the control plane must not touch what it stands on.
  statement {
    sid    = "LeaveTheRegistryAlone"
    effect = "Deny"
    actions = [
      "rds:AddTagsToResource",
      "rds:DeleteDBInstance",
      "rds:ModifyDBInstance",
      "rds:StopDBInstance",
    ]
    resources = [for place in local.places : "arn:${local.partition}:rds:${place}:db:fleet-registry"]
  }
}
