# What no line of the code calls, but AWS asks of the caller behind a call, and the data folder.

data "aws_iam_policy_document" "behind" {
  # kms:CreateKey with tags asks for this one too. The key has no tags yet, so only those asked for can be bound.
  statement {
    sid       = "TagNewKeys"
    actions   = ["kms:TagResource"]
    resources = local.any_key
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
    # No key that is somebody's already, or that Terraform made, becomes another's.
    condition {
      test     = "Null"
      variable = "aws:ResourceTag/fleet:component"
      values   = ["true"]
    }
  }

  # secretsmanager:CreateSecret with tags.
  statement {
    sid       = "TagNewSecrets"
    actions   = ["secretsmanager:TagResource"]
    resources = local.secret_arns
  }

  # Secrets Manager seals and opens in its caller's name. The context holds the secret's ARN, or this word when a
  # new secret's key is tried out.
  statement {
    sid       = "SealSecrets"
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
      variable = "kms:ViaService"
      values   = [for region in local.aws_regions : "secretsmanager.${region}.amazonaws.com"]
    }
    condition {
      test     = "StringLike"
      variable = "kms:EncryptionContext:SecretARN"
      values   = concat(local.secret_arns, ["RequestToValidateKeyAccess"])
    }
  }

  # RDS looks at a server's key in its caller's name, and keeps a grant for as long as the server lives.
  statement {
    sid       = "EncryptServers"
    actions   = ["kms:DescribeKey"]
    resources = local.regions_keys
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = [for region in local.aws_regions : "rds.${region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "GrantServersTheirKey"
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
