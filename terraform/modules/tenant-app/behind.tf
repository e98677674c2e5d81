# What no line of the code calls, but AWS asks of the caller behind a call.

data "aws_iam_policy_document" "behind" {
  # Secrets Manager opens in its caller's name. Keys of tenants are made later, by the control plane: their tags say
  # whose and where they are, and the context which secret is read.
  statement {
    sid       = "OpenSecrets"
    actions   = ["kms:Decrypt"]
    resources = local.any_key
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:fleet"
      values   = [var.fleet_name]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/fleet:region"
      values   = [var.region]
    }
    condition {
      test     = "Null"
      variable = "aws:ResourceTag/fleet:tenant"
      values   = ["false"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${local.aws_region}.amazonaws.com"]
    }
    condition {
      test     = "StringLike"
      variable = "kms:EncryptionContext:SecretARN"
      values   = local.secret_arns
    }
  }
}
