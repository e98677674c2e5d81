# What no line of the code calls, but AWS asks of the caller behind a call, and the data folder.

data "aws_iam_policy_document" "behind" {
  # kms:CreateKey with tags asks for this one too. The key has no tags yet, so only those asked for can be bound.
  statement {
    sid       = "TagNewKeys"
    actions   = ["kms:TagResource"]
    resources = local.any_key
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
    # No key that has a tenant, or that Terraform made, is given to another.
    condition {
      test     = "Null"
      variable = "aws:ResourceTag/fleet:component"
      values   = ["true"]
    }
    condition {
      test     = "Null"
      variable = "aws:ResourceTag/fleet:tenant"
      values   = ["true"]
    }
  }

  # RDS keeps a grant for as long as an encrypted server lives.
  statement {
    sid       = "EncryptServers"
    actions   = ["kms:CreateGrant"]
    resources = local.regions_keys
    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = [for region in local.aws_regions : "rds.${region}.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "data_folder" {
  statement {
    sid       = "MountDataFolder"
    actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    resources = [aws_efs_file_system.data.arn]
    condition {
      test     = "StringEquals"
      variable = "elasticfilesystem:AccessPointArn"
      values   = [aws_efs_access_point.data.arn]
    }
  }
}

data "aws_iam_policy_document" "data_folder_guard" {
  statement {
    sid       = "ControlPlaneOnly"
    actions   = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    resources = [aws_efs_file_system.data.arn]
    principals {
      type        = "AWS"
      identifiers = [module.api.task_role_arn, module.worker.task_role_arn]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["true"]
    }
    condition {
      test     = "StringEquals"
      variable = "elasticfilesystem:AccessPointArn"
      values   = [aws_efs_access_point.data.arn]
    }
  }
}
